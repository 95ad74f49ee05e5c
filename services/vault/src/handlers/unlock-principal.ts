import { type PrincipalService, UnlockPrincipalRequestSchema } from "@nexus/proto/vault";
import type { MethodImplementation } from "@nexus/rpc";
import { requirePrincipal } from "@nexus/rpc";
import { toPrincipal } from "./convert.ts";
import type { VaultHandlerDeps } from "./deps.ts";
import { requestKey } from "./request-key.ts";

type UnlockPrincipal = MethodImplementation<typeof PrincipalService.method.unlockPrincipal>;

/** Serves PrincipalService.UnlockPrincipal. */
export function createUnlockPrincipal(deps: VaultHandlerDeps): UnlockPrincipal {
  return async (request, ctx) => {
    const key = requestKey(ctx, UnlockPrincipalRequestSchema, request, deps.digestBody);
    const caller = requirePrincipal(ctx);
    const principal = await deps.passwordChanges.unlock(caller, request.principalId, key);
    return { principal: toPrincipal(principal) };
  };
}
