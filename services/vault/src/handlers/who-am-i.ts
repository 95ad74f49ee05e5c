import type { AuthService } from "@nexus/proto/vault";
import type { MethodImplementation } from "@nexus/rpc";
import { requirePrincipal } from "@nexus/rpc";
import { toPrincipalKind, toTimestamp } from "./convert.ts";

type WhoAmI = MethodImplementation<typeof AuthService.method.whoAmI>;

/** Serves AuthService.WhoAmI from the token alone: it asks no store. */
export function createWhoAmI(): WhoAmI {
  return (_request, ctx) => {
    const caller = requirePrincipal(ctx);
    const { namespace, principalId, kind, scopes, tokenId, expiresAtMs } = caller;
    const { roles = [], deniedScopes = [], limitedScopes = [] } = caller;
    return {
      principal: {
        namespace,
        principalId,
        kind: toPrincipalKind(kind),
        scopes: [...scopes],
        roles: [...roles],
      },
      deniedScopes: [...deniedScopes],
      limitedScopes: [...limitedScopes],
      tokenId,
      expireTime: toTimestamp(expiresAtMs),
    };
  };
}
