import type { AuthService } from "@nexus/proto/vault";
import type { MethodImplementation } from "@nexus/rpc";
import { requirePrincipal } from "@nexus/rpc";
import type { VaultHandlerDeps } from "./deps.ts";

type Logout = MethodImplementation<typeof AuthService.method.logout>;

/** Serves AuthService.Logout. */
export function createLogout({ auth }: VaultHandlerDeps): Logout {
  return async (_request, ctx) => {
    await auth.logout(requirePrincipal(ctx), ctx.audit);
    return {};
  };
}
