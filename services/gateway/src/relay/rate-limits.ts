import type { Principal } from "@nexus/rpc";
import { callerOfAddress, NexusError } from "@nexus/shared";
import type { RateLimiter } from "../domain/rate-limiter.ts";
import type { GatewayEvents } from "../events.ts";

/** Counts calls against the right limit: a known principal's own, else that of the address it calls from. */
export interface RateLimits {
  /** Errors: exhausted/RATE_LIMITED with the wait until the next call is allowed. */
  count(principal: Principal | undefined, address: string): void;
}

/** Combines the limit of principals with that of addresses. */
export function createRateLimits(parts: {
  readonly principals: RateLimiter;
  readonly addresses: RateLimiter;
  readonly events: Pick<GatewayEvents, "rateLimited">;
}): RateLimits {
  const { principals, addresses, events } = parts;
  return {
    count(principal, address) {
      try {
        if (principal === undefined) addresses.take(callerOfAddress(address));
        else principals.take(`${principal.namespace}/${principal.principalId}`);
      } catch (error) {
        const limited = NexusError.is(error, "exhausted");
        if (limited) events.rateLimited(principal === undefined ? "address" : "principal");
        throw error;
      }
    },
  };
}
