import { type AuthService, ChangePasswordRequestSchema } from "@nexus/proto/vault";
import type { MethodImplementation } from "@nexus/rpc";
import { requirePrincipal } from "@nexus/rpc";
import type { VaultHandlerDeps } from "./deps.ts";
import { requestKey } from "./request-key.ts";

type ChangePassword = MethodImplementation<typeof AuthService.method.changePassword>;

/** Serves AuthService.ChangePassword. */
export function createChangePassword(deps: VaultHandlerDeps): ChangePassword {
  return async (request, ctx) => {
    const key = requestKey(ctx, ChangePasswordRequestSchema, request, deps.digestBody);
    const caller = requirePrincipal(ctx);
    const { oldPassword, newPassword } = request;
    await deps.passwordChanges.change(caller, { oldPassword, newPassword }, key, ctx.signal);
    return {};
  };
}
