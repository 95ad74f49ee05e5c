import type { Principal } from "@nexus/rpc";
import type { RateLimiter } from "../domain/rate-limiter.ts";

/** Counts calls against the right limit: a known principal's own, else that of the address it calls from. */
export interface RateLimits {
  /** Errors: exhausted/RATE_LIMITED. */
  count(principal: Principal | undefined, peer: string): void;
}

/** Combines the limit of principals with that of addresses. */
export function createRateLimits(limits: {
  readonly principals: RateLimiter;
  readonly addresses: RateLimiter;
}): RateLimits {
  return {
    count(principal, peer) {
      if (principal === undefined) limits.addresses.take(hostOf(peer));
      else limits.principals.take(`${principal.namespace}/${principal.principalId}`);
    },
  };
}

/** A new port must not be a new caller. */
function hostOf(peer: string): string {
  const colon = peer.lastIndexOf(":");
  return colon > 0 ? peer.slice(0, colon) : peer;
}
