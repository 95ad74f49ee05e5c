import type { AuthService } from "@nexus/proto/vault";
import type { MethodImplementation } from "@nexus/rpc";
import { requirePrincipal } from "@nexus/rpc";
import { toPrincipalKind, toTimestamp } from "./convert.ts";

type WhoAmI = MethodImplementation<typeof AuthService.method.whoAmI>;

/** Serves AuthService.WhoAmI from the token alone: it asks no store. */
export function createWhoAmI(): WhoAmI {
  return (_request, ctx) => {
    const { namespace, principalId, kind, scopes, tokenId, expiresAtMs } = requirePrincipal(ctx);
    return {
      principal: { namespace, principalId, kind: toPrincipalKind(kind), scopes: [...scopes] },
      tokenId,
      expireTime: toTimestamp(expiresAtMs),
    };
  };
}
