import type { AuthService } from "@nexus/proto/vault";
import type { MethodImplementation } from "@nexus/rpc";
import { requirePrincipal } from "@nexus/rpc";
import { serviceOnly } from "../domain/errors.ts";
import { toRevocation } from "./convert.ts";
import type { VaultHandlerDeps } from "./deps.ts";

type WatchRevocations = MethodImplementation<typeof AuthService.method.watchRevocations>;

/** Serves AuthService.WatchRevocations. The stream tells of all namespaces, so a tenant's every scope is not enough. */
export function createWatchRevocations({ revocations }: VaultHandlerDeps): WatchRevocations {
  return async function* watch({ resumeRevision }, ctx) {
    if (requirePrincipal(ctx).kind !== "service") throw serviceOnly();
    for await (const { revision, records } of revocations.follow(resumeRevision, ctx.signal)) {
      yield { revision, revocations: records.map(toRevocation) };
    }
  };
}
