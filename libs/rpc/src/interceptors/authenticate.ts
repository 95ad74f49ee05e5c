import { NexusError } from "@nexus/shared";
import type { Principal, TokenVerifier } from "../principal.ts";
import type { CallState } from "../server/call-state.ts";
import type { Interceptor } from "../server/interceptor.ts";
import { PUBLIC } from "../server/method-plan.ts";
import { assertScope } from "./authorise.ts";
import { guardToken } from "./token-guard.ts";

const BEARER = /^Bearer +(\S+)$/i;

/** Verifies the bearer token and puts the principal into the context. `public` methods skip it.
 *
 * A stream lives no longer than its token: expiry or revocation ends it with UNAUTHENTICATED, unless
 * ctx.reauthenticate() has put a newer token in its place. */
export function createAuthenticate(verifier: TokenVerifier): Interceptor {
  return async ({ state, plan }, next) => {
    if (plan.scope === PUBLIC) return next();
    const token = bearerToken(state);
    state.principal = await verifier.verify(token);
    state.token = token;
    if (!plan.requestStream && !plan.responseStream) return next();

    let guard = guardToken(state.principal, verifier, (error) => state.end(error));
    state.swapToken = async (newToken) => {
      const principal = await verifier.verify(newToken);
      assertSamePrincipal(state.principal, principal);
      assertScope(principal, plan.scope);
      guard.release();
      state.principal = principal;
      state.token = newToken;
      if (state.endError === undefined) {
        guard = guardToken(principal, verifier, (error) => state.end(error));
      }
      return principal;
    };
    try {
      await next();
    } finally {
      guard.release();
    }
  };
}

function bearerToken(state: CallState): string {
  const token = BEARER.exec(state.metadata.get("authorization") ?? "")?.[1];
  if (token !== undefined) return token;
  throw new NexusError({
    kind: "unauthenticated",
    reason: "TOKEN_MISSING",
    message: "This call needs a token: send `authorization: Bearer <token>`.",
  });
}

function assertSamePrincipal(current: Principal | undefined, next: Principal): void {
  if (current?.namespace === next.namespace && current.principalId === next.principalId) return;
  throw new NexusError({
    kind: "forbidden",
    reason: "PRINCIPAL_MISMATCH",
    message: "The new token speaks for another principal than the one that opened the stream.",
  });
}
