import { backoffDelayMs, type Logger, NexusError, sleep } from "@nexus/shared";

/** What retryUntilUp needs. */
export interface RetryUntilUpOptions<T> {
  /** The dependency, for logs. */
  readonly what: string;
  readonly fn: () => Promise<T>;
  /** Ends the waiting. */
  readonly signal: AbortSignal;
  readonly logger: Logger;
  /** Says which errors mean "not up yet"; default those of kind unavailable. */
  readonly isDown?: (error: unknown) => boolean;
}

/** All services of a deployment are started together, so the first waits mean nothing. */
const QUIET_MS = 10_000;
const POLICY = { initialMs: 100, multiplier: 2, maxMs: 2_000, jitter: 0.2 };

function isUnavailable(error: unknown): boolean {
  return NexusError.is(error, "unavailable");
}

/** Repeats a step of a start until its dependency is up. It has no limit of its own: the supervisor or Kubernetes
 * decides how long a service may stay unready.
 *
 * It waits quietly at first, and says so from QUIET_MS on. By default only `unavailable` errors are repeated; a wrong password or a broken migration fails at once. */
export async function retryUntilUp<T>(options: RetryUntilUpOptions<T>): Promise<T> {
  const isDown = options.isDown ?? isUnavailable;
  const startedAtMs = performance.now();
  for (let attempt = 1; ; attempt++) {
    try {
      return await options.fn();
    } catch (error) {
      if (!isDown(error)) throw error;
      const waitMs = Math.round(backoffDelayMs(attempt, POLICY));
      const level = performance.now() - startedAtMs < QUIET_MS ? "debug" : "warn";
      options.logger[level]({ what: options.what, attempt, waitMs, err: error }, "waiting");
      await sleep(waitMs, options.signal);
    }
  }
}
