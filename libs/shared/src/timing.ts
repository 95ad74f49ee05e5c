import { onAbort } from "./abort.ts";
import { NexusError } from "./nexus-error.ts";

/** How the delay between two tries grows. */
export interface BackoffPolicy {
  /** Milliseconds before the second try. */
  readonly initialMs: number;
  /** Factor between two delays; 1 keeps the delay, 2 doubles it. */
  readonly multiplier: number;
  /** The delay never grows beyond this. */
  readonly maxMs: number;
  /** Share of the delay that is random, 0 to 1: 0.2 gives 80 % to 100 % of it; 1 is "full jitter". */
  readonly jitter: number;
}

/** Returns the milliseconds to wait after the attempt with this number (the first attempt is 1) failed.
 *
 * Jitter only shortens, so maxMs holds. Source: "Exponential Backoff And Jitter", AWS Architecture Blog, 2015. */
export function backoffDelayMs(
  attempt: number,
  policy: BackoffPolicy,
  random: () => number = Math.random,
): number {
  const exponent = Math.max(0, attempt - 1);
  const full = Math.min(policy.maxMs, policy.initialMs * policy.multiplier ** exponent);
  return full * (1 - policy.jitter * random());
}

function cancelledError(signal: AbortSignal): NexusError {
  if (signal.reason instanceof NexusError) return signal.reason;
  return new NexusError({
    kind: "cancelled",
    reason: "CANCELLED",
    message: "The wait was cancelled.",
    cause: signal.reason,
  });
}

/** Waits; rejects at once when the signal aborts, with its reason if that is a NexusError, else cancelled/CANCELLED.
 *
 * The timer keeps the process alive, as a wait inside running work should. */
export function sleep(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted === true) {
      reject(cancelledError(signal));
      return;
    }
    const timer = setTimeout(() => {
      leave?.();
      resolve();
    }, ms);
    const leave =
      signal &&
      onAbort(signal, () => {
        clearTimeout(timer);
        reject(cancelledError(signal));
      });
  });
}

function defaultDeadlineError(ms: number): NexusError {
  return new NexusError({
    kind: "deadline",
    reason: "DEADLINE_EXCEEDED",
    message: `No answer within ${ms} ms.`,
  });
}

/** Settles as the promise does, or rejects with makeError() (default deadline/DEADLINE_EXCEEDED) after `ms`.
 *
 * The work behind the promise is not stopped: pass it an AbortSignal as well when it can be. Its late rejection
 * is swallowed on purpose, because the caller was already told. */
export function withDeadline<T>(
  promise: Promise<T>,
  ms: number,
  makeError: () => Error = () => defaultDeadlineError(ms),
): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const expired = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(makeError()), ms);
  });
  return Promise.race([promise, expired]).finally(() => clearTimeout(timer));
}
