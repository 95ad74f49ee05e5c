import {
  type AuthService,
  type RevokeTokensRequest,
  RevokeTokensRequestSchema,
} from "@nexus/proto/vault";
import type { MethodImplementation } from "@nexus/rpc";
import { requirePrincipal } from "@nexus/rpc";
import { parseNamespace } from "@nexus/shared";
import type { RevokeTarget } from "../domain/auth-manager.ts";
import { toTimestamp } from "./convert.ts";
import type { VaultHandlerDeps } from "./deps.ts";
import { requestKey } from "./request-key.ts";

type RevokeTokens = MethodImplementation<typeof AuthService.method.revokeTokens>;

/** Serves AuthService.RevokeTokens. */
export function createRevokeTokens({ auth, digestBody }: VaultHandlerDeps): RevokeTokens {
  return async (request, ctx) => {
    const key = requestKey(ctx, RevokeTokensRequestSchema, request, digestBody);
    const revokeTimeMs = await auth.revoke(requirePrincipal(ctx), fromTarget(request.target), key);
    return { revokeTime: toTimestamp(revokeTimeMs) };
  };
}

/** The contract's rules make the target present. */
function fromTarget({ case: what, value = "" }: RevokeTokensRequest["target"]): RevokeTarget {
  switch (what) {
    case "tokenId":
      return { tokenId: value };
    case "familyId":
      return { familyId: value };
    case "wholeNamespace":
      return { wholeNamespace: parseNamespace(value) };
    default:
      return { principalId: value };
  }
}
