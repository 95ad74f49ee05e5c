import type { AuthService } from "@nexus/proto/vault";
import type { MethodImplementation } from "@nexus/rpc";
import { toRevocation } from "./convert.ts";
import type { VaultHandlerDeps } from "./deps.ts";

type WatchRevocations = MethodImplementation<typeof AuthService.method.watchRevocations>;

/** Serves AuthService.WatchRevocations. */
export function createWatchRevocations({ revocations }: VaultHandlerDeps): WatchRevocations {
  return async function* watch({ resumeRevision }, ctx) {
    for await (const { revision, records } of revocations.follow(resumeRevision, ctx.signal)) {
      yield { revision, revocations: records.map(toRevocation) };
    }
  };
}
