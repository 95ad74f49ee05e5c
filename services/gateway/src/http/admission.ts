import type { DescMethod } from "@bufbuild/protobuf";
import { type Principal, scopeOf, type TokenVerifier } from "@nexus/rpc";
import { matchesScope, NexusError } from "@nexus/shared";
import type { RateLimits } from "../relay/rate-limits.ts";

/** A caller that may make its call. */
export interface Admitted {
  readonly principal: Principal | undefined;
  /** Goes along to the owner of the method. */
  readonly token: string | undefined;
}

/** What one HTTP call says of itself. */
export interface CallFacts {
  readonly method: DescMethod;
  readonly authorization: string | null;
  readonly peer: string;
}

/** Lets HTTP calls in under the rules that the gRPC port enforces by interceptors: token, scope, rate. */
export type Admission = (facts: CallFacts) => Promise<Admitted>;

const BEARER = /^Bearer +(\S+)$/i;

/** Creates the admission of the HTTP port.
 *
 * Errors: unauthenticated/TOKEN_MISSING and the verifier's own; forbidden/SCOPE_MISSING; exhausted/RATE_LIMITED. */
export function createAdmission(verifier: TokenVerifier, limits: RateLimits): Admission {
  return async ({ method, authorization, peer }) => {
    const scope = scopeOf(method);
    if (scope === "public") {
      limits.count(undefined, peer);
      return { principal: undefined, token: undefined };
    }
    const token = BEARER.exec(authorization ?? "")?.[1];
    if (token === undefined) throw tokenMissing();
    const principal = await verifier.verify(token);
    const allowed = scope === "authenticated" || matchesScope(principal.scopes, scope);
    if (!allowed) throw scopeMissing(scope);
    limits.count(principal, peer);
    return { principal, token };
  };
}

function tokenMissing(): NexusError {
  return new NexusError({
    kind: "unauthenticated",
    reason: "TOKEN_MISSING",
    message: "This call needs a token: send `authorization: Bearer <token>`.",
  });
}

function scopeMissing(scope: string): NexusError {
  return new NexusError({
    kind: "forbidden",
    reason: "SCOPE_MISSING",
    message: `The token lacks the scope ${scope}.`,
    details: { metadata: { required_scope: scope } },
  });
}
