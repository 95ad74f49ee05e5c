import type { AuthService } from "@nexus/proto/vault";
import type { MethodImplementation } from "@nexus/rpc";
import { toTokenSet } from "./convert.ts";
import type { VaultHandlerDeps } from "./deps.ts";

type RefreshToken = MethodImplementation<typeof AuthService.method.refreshToken>;

/** Serves AuthService.RefreshToken. */
export function createRefreshToken({ auth }: VaultHandlerDeps): RefreshToken {
  return async ({ refreshToken }, ctx) => ({
    tokens: toTokenSet(await auth.refresh(refreshToken, ctx.audit)),
  });
}
