import { NexusError } from "@nexus/shared";
import { assertScope, identifyCaller } from "../admission.ts";
import type { Principal, TokenVerifier } from "../principal.ts";
import type { Interceptor } from "../server/interceptor.ts";
import { guardToken } from "./token-guard.ts";

/** Verifies the bearer token and puts the principal into the context. `public` methods skip it.
 *
 * A stream lives no longer than its token: expiry or revocation ends it with UNAUTHENTICATED, unless
 * ctx.reauthenticate() has put a newer token in its place. A relayed stream is left alone: the owner of the contract
 * gets the same token and guards it, and only the owner sees the frame that brings a newer one.
 *
 * `localCaller` is who calls without a token, at a socket that the file system guards. */
export function createAuthenticate(
  verifier: TokenVerifier,
  localCaller: Principal | undefined,
): Interceptor {
  return async ({ state, plan }, next) => {
    const authorization = state.metadata.get("authorization");
    if (authorization === undefined && localCaller !== undefined) {
      state.principal = localCaller;
      return next();
    }
    const caller = await identifyCaller(plan.scope, { authorization, verifier });
    if (caller.principal === undefined) return next();
    state.principal = caller.principal;
    state.token = caller.token;
    if (plan.relayed || (!plan.requestStream && !plan.responseStream)) return next();

    let guard = guardToken(state.principal, verifier, (error) => state.end(error));
    state.swapToken = async (newToken) => {
      const principal = await verifier.verify(newToken);
      assertSamePrincipal(state.principal, principal);
      assertScope(principal, plan);
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

function assertSamePrincipal(current: Principal | undefined, next: Principal): void {
  if (current?.namespace === next.namespace && current.principalId === next.principalId) return;
  throw new NexusError({
    kind: "forbidden",
    reason: "PRINCIPAL_MISMATCH",
    message: "The new token speaks for another principal than the one that opened the stream.",
  });
}
