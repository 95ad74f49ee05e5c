import { type Clock, createLruCache, NexusError } from "@nexus/shared";

/** Callers remembered at once; beyond that the one silent longest is forgotten, which gives it a full bucket. */
const CALLERS_MAX = 100_000;

interface Bucket {
  tokens: number;
  filledAtMs: number;
}

/** Refuses callers that call too often. */
export interface RateLimiter {
  /** Counts one call. Errors: exhausted/RATE_LIMITED with the wait until the next one is allowed. */
  take(caller: string): void;
}

/** Creates a token bucket per caller: `perSecond` calls a second, and as many at once.
 *
 * The limit is read at each call, so a changed configuration counts at once. Per replica, not shared.
 * Cost: O(1), no timer. */
export function createRateLimiter(perSecond: () => number, clock: Clock): RateLimiter {
  const buckets = createLruCache<string, Bucket>({ max: CALLERS_MAX, clock });
  return {
    take(caller) {
      const limit = perSecond();
      const nowMs = clock.nowMs();
      let bucket = buckets.get(caller);
      if (bucket === undefined) {
        bucket = { tokens: limit, filledAtMs: nowMs };
        buckets.set(caller, bucket);
      }
      const gained = ((nowMs - bucket.filledAtMs) / 1_000) * limit;
      bucket.tokens = Math.min(limit, bucket.tokens + Math.max(0, gained));
      bucket.filledAtMs = nowMs;
      if (bucket.tokens < 1) throw rateLimited(((1 - bucket.tokens) / limit) * 1_000);
      bucket.tokens -= 1;
    },
  };
}

function rateLimited(waitMs: number): NexusError {
  return new NexusError({
    kind: "exhausted",
    reason: "RATE_LIMITED",
    message: "The caller makes too many calls; slow down.",
    details: { retryAfterMs: Math.max(1, Math.ceil(waitMs)) },
  });
}
