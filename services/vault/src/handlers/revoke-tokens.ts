import { type AuthService, RevokeTokensRequestSchema } from "@nexus/proto/vault";
import type { MethodImplementation } from "@nexus/rpc";
import { requirePrincipal } from "@nexus/rpc";
import { toTimestamp } from "./convert.ts";
import type { VaultHandlerDeps } from "./deps.ts";
import { requestKey } from "./request-key.ts";

type RevokeTokens = MethodImplementation<typeof AuthService.method.revokeTokens>;

/** Serves AuthService.RevokeTokens. */
export function createRevokeTokens({ auth, digestBody }: VaultHandlerDeps): RevokeTokens {
  return async (request, ctx) => {
    const key = requestKey(ctx, RevokeTokensRequestSchema, request, digestBody);
    const { target } = request;
    const id = target.value ?? "";
    const revokeTarget = target.case === "tokenId" ? { tokenId: id } : { principalId: id };
    const revokeTimeMs = await auth.revoke(requirePrincipal(ctx), revokeTarget, key);
    return { revokeTime: toTimestamp(revokeTimeMs) };
  };
}
