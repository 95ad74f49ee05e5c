import type { AccessService } from "@nexus/proto/vault";
import type { MethodImplementation } from "@nexus/rpc";
import { requirePrincipal } from "@nexus/rpc";
import { toPolicy } from "./convert-access.ts";
import type { VaultHandlerDeps } from "./deps.ts";

type GetPolicy = MethodImplementation<typeof AccessService.method.getPolicy>;

/** Serves AccessService.GetPolicy. */
export function createGetPolicy({ accessDirectory }: VaultHandlerDeps): GetPolicy {
  return async ({ name }, ctx) => {
    const { namespace } = requirePrincipal(ctx);
    return { policy: toPolicy(await accessDirectory.getPolicy(namespace, name)) };
  };
}
