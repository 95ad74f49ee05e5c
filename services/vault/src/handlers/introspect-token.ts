import type { MessageInitShape } from "@bufbuild/protobuf";
import { type AuthService, type IntrospectTokenResponseSchema, TokenUse } from "@nexus/proto/vault";
import type { MethodImplementation } from "@nexus/rpc";
import { requirePrincipal } from "@nexus/rpc";
import type { TokenFacts } from "../domain/token-introspector.ts";
import { toPrincipal, toPrincipalKind, toTimestamp } from "./convert.ts";
import type { VaultHandlerDeps } from "./deps.ts";

type IntrospectToken = MethodImplementation<typeof AuthService.method.introspectToken>;

/** Serves AuthService.IntrospectToken. */
export function createIntrospectToken({ introspector }: VaultHandlerDeps): IntrospectToken {
  return async ({ token }, ctx) => {
    const facts = await introspector.introspect(requirePrincipal(ctx), token);
    return facts === undefined ? { active: false } : toFacts(facts);
  };
}

function toFacts(facts: TokenFacts): MessageInitShape<typeof IntrospectTokenResponseSchema> {
  if (facts.use === "refresh") {
    const { principal, familyId, expiresAtMs } = facts;
    return {
      active: true,
      tokenUse: TokenUse.REFRESH,
      principal: toPrincipal(principal),
      familyId,
      expireTime: toTimestamp(expiresAtMs),
    };
  }
  const { subject } = facts;
  const { roles = [], deniedScopes = [], limitedScopes = [] } = subject;
  return {
    active: true,
    tokenUse: TokenUse.ACCESS,
    principal: {
      namespace: subject.namespace,
      principalId: subject.principalId,
      kind: toPrincipalKind(subject.kind),
      scopes: [...subject.scopes],
      roles: [...roles],
    },
    deniedScopes: [...deniedScopes],
    limitedScopes: [...limitedScopes],
    tokenId: subject.tokenId,
    familyId: subject.familyId,
    issueTime: toTimestamp(subject.issuedAtMs),
    expireTime: toTimestamp(subject.expiresAtMs),
  };
}
