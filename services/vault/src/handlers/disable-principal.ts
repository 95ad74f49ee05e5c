import { DisablePrincipalRequestSchema, type PrincipalService } from "@nexus/proto/vault";
import type { MethodImplementation } from "@nexus/rpc";
import { requirePrincipal } from "@nexus/rpc";
import { toPrincipal } from "./convert.ts";
import type { VaultHandlerDeps } from "./deps.ts";
import { requestKey } from "./request-key.ts";

type DisablePrincipal = MethodImplementation<typeof PrincipalService.method.disablePrincipal>;

/** Serves PrincipalService.DisablePrincipal. */
export function createDisablePrincipal(deps: VaultHandlerDeps): DisablePrincipal {
  return async (request, ctx) => {
    const key = requestKey(ctx, DisablePrincipalRequestSchema, request, deps.digestBody);
    const caller = requirePrincipal(ctx);
    return {
      principal: toPrincipal(await deps.directory.disable(caller, request.principalId, key)),
    };
  };
}
