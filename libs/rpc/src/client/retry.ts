import type { DescMethod } from "@bufbuild/protobuf";
import { MethodOptions_IdempotencyLevel as Idempotency } from "@bufbuild/protobuf/wkt";
import { backoffDelayMs, NexusError, sleep } from "@nexus/shared";
import {
  MAX_ATTEMPTS,
  RETRY_INITIAL_MS,
  RETRY_JITTER,
  RETRY_MAX_MS,
  RETRY_MULTIPLIER,
} from "../limits.ts";

const POLICY = {
  initialMs: RETRY_INITIAL_MS,
  multiplier: RETRY_MULTIPLIER,
  maxMs: RETRY_MAX_MS,
  jitter: RETRY_JITTER,
} as const;

/** Says whether repeating a call of the method is harmless by its contract. */
export function isIdempotent(method: DescMethod): boolean {
  return (
    method.idempotency === Idempotency.NO_SIDE_EFFECTS ||
    method.idempotency === Idempotency.IDEMPOTENT
  );
}

/** Repeats a call that met UNAVAILABLE, up to MAX_ATTEMPTS in all, with backoff; a server's RetryInfo lengthens
 * the wait. Gives up as soon as the next wait would cross the deadline: the last real error is worth more than
 * a DEADLINE_EXCEEDED. */
export async function withRetry<T>(
  attempt: () => Promise<T>,
  deadlineAtMs: number | undefined,
  signal: AbortSignal | undefined,
): Promise<T> {
  for (let made = 1; ; made++) {
    try {
      return await attempt();
    } catch (error) {
      if (!NexusError.is(error, "unavailable") || made >= MAX_ATTEMPTS) throw error;
      const delayMs = Math.max(backoffDelayMs(made, POLICY), error.details.retryAfterMs ?? 0);
      if (deadlineAtMs !== undefined && Date.now() + delayMs >= deadlineAtMs) throw error;
      await sleep(delayMs, signal);
    }
  }
}
