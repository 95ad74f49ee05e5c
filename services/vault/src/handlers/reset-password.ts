import { type PrincipalService, ResetPasswordRequestSchema } from "@nexus/proto/vault";
import type { MethodImplementation } from "@nexus/rpc";
import { requirePrincipal } from "@nexus/rpc";
import { toPrincipal } from "./convert.ts";
import type { VaultHandlerDeps } from "./deps.ts";
import { requestKey } from "./request-key.ts";

type ResetPassword = MethodImplementation<typeof PrincipalService.method.resetPassword>;

/** Serves PrincipalService.ResetPassword. */
export function createResetPassword(deps: VaultHandlerDeps): ResetPassword {
  return async (request, ctx) => {
    const key = requestKey(ctx, ResetPasswordRequestSchema, request, deps.digestBody);
    const caller = requirePrincipal(ctx);
    const { principalId, password } = request;
    const wanted = { principalId, password };
    const user = await deps.passwordChanges.reset(caller, wanted, key, ctx.signal);
    return { principal: toPrincipal(user) };
  };
}
