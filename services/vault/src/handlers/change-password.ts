import { type AuthService, ChangePasswordRequestSchema } from "@nexus/proto/vault";
import type { MethodImplementation } from "@nexus/rpc";
import { requirePrincipal } from "@nexus/rpc";
import { callerOf } from "./caller-of.ts";
import type { VaultHandlerDeps } from "./deps.ts";
import { requestKey } from "./request-key.ts";

type ChangePassword = MethodImplementation<typeof AuthService.method.changePassword>;

/** Serves AuthService.ChangePassword. */
export function createChangePassword(deps: VaultHandlerDeps): ChangePassword {
  return async (request, ctx) => {
    const key = requestKey(ctx, ChangePasswordRequestSchema, request, deps.digestBody);
    const caller = requirePrincipal(ctx);
    const { oldPassword, newPassword } = request;
    // It counts with the logins under the name.
    ctx.audit?.note({ resource: caller.principalId });
    const proof = { oldPassword, newPassword, address: callerOf(ctx) };
    await deps.passwordChanges.change(caller, proof, key, ctx.signal);
    return {};
  };
}
