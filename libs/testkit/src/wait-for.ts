/** Waiting for a condition instead of for a time. */
import { inspect } from "node:util";

/** No promise, only an end to waiting: the machine may be very busy. Shorter than a test may take, so that this one speaks. */
const TIMEOUT_DEFAULT_MS = 20_000;
const POLL_FIRST_MS = 2;
const POLL_MAX_MS = 50;

/** How long to wait, and for what. */
export interface WaitForOptions {
  /** @default 20_000 */
  readonly timeoutMs?: number;
  /** Ends the sentence "timed out waiting for ...". */
  readonly what: string;
}

/** Calls `fn` until it returns something other than undefined, null or false, and returns that.
 *
 * A throw counts as "not yet", so assertions can be waited for; the last one is the cause of the timeout's error. */
export async function waitFor<T>(
  fn: () => T | Promise<T>,
  options: WaitForOptions,
): Promise<Exclude<T, undefined | null | false | void>> {
  const timeoutMs = options.timeoutMs ?? TIMEOUT_DEFAULT_MS;
  const giveUpAt = performance.now() + timeoutMs;
  let pollMs = POLL_FIRST_MS;
  for (;;) {
    let last: unknown;
    try {
      const value = await fn();
      if (value !== undefined && value !== null && value !== false) {
        return value as Exclude<T, undefined | null | false | void>;
      }
      last = value;
    } catch (error) {
      last = error;
    }
    if (performance.now() >= giveUpAt) {
      const seen = last instanceof Error ? last.message : inspect(last);
      const message = `timed out after ${timeoutMs} ms waiting for ${options.what}; last: ${seen}`;
      throw new Error(message, { cause: last });
    }
    await new Promise((resolve) => setTimeout(resolve, pollMs));
    pollMs = Math.min(pollMs * 2, POLL_MAX_MS);
  }
}
