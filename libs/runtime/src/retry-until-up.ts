import { backoffDelayMs, type Logger, NexusError, sleep } from "@nexus/shared";

/** What retryUntilUp needs. */
export interface RetryUntilUpOptions<T> {
  /** The dependency, for logs. */
  readonly what: string;
  readonly fn: () => Promise<T>;
  /** Ends the waiting. */
  readonly signal: AbortSignal;
  readonly logger: Logger;
}

const POLICY = { initialMs: 100, multiplier: 2, maxMs: 3_000, jitter: 0.2 };

/** Repeats a step of a start until its dependency is up. It has no limit of its own: the supervisor or Kubernetes
 * decides how long a service may stay unready.
 *
 * Only `unavailable` errors are repeated; a wrong password or a broken migration fails at once. */
export async function retryUntilUp<T>(options: RetryUntilUpOptions<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await options.fn();
    } catch (error) {
      if (!NexusError.is(error, "unavailable")) throw error;
      const waitMs = Math.round(backoffDelayMs(attempt, POLICY));
      options.logger.warn({ what: options.what, attempt, waitMs, err: error }, "waiting");
      await sleep(waitMs, options.signal);
    }
  }
}
