import type { DescMethod } from "@bufbuild/protobuf";
import { MethodOptions_IdempotencyLevel as Idempotency } from "@bufbuild/protobuf/wkt";
import { backoffDelayMs, type Logger, NexusError, sleep } from "@nexus/shared";
import { RETRY_INITIAL_MS, RETRY_JITTER, RETRY_MAX_MS, RETRY_MULTIPLIER } from "../limits.ts";
import type { CallOptions } from "./call-options.ts";
import { linkSignals, signalsOf } from "./outgoing.ts";

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

/** Says whether an error is that of a server that is away for a moment. */
export function isUnavailable({ kind }: NexusError): boolean {
  return kind === "unavailable";
}

/** Says whether the call was refused for its caller's rate: before anything was done, so that it may be repeated whatever it does. */
export function isRateLimited({ kind, reason }: NexusError): boolean {
  return kind === "exhausted" && reason === "RATE_LIMITED";
}

/** One call that may be repeated. */
export interface RetriedCall<T> {
  readonly attempt: () => Promise<T>;
  readonly deadlineAtMs: number | undefined;
  readonly options: CallOptions;
  readonly isRepeated: (error: NexusError) => boolean;
  readonly attemptsMax: number;
  readonly logger: Logger | undefined;
  readonly path: string;
}

/** Repeats a call that met what `isRepeated` says, up to `attemptsMax` in all, with backoff; a server's RetryInfo lengthens
 * the wait. Gives up as soon as the next wait would cross the deadline: the last real error is worth more than
 * a DEADLINE_EXCEEDED. */
export async function withRetry<T>(call: RetriedCall<T>): Promise<T> {
  for (let made = 1; ; made++) {
    try {
      return await call.attempt();
    } catch (error) {
      if (!(error instanceof NexusError) || made >= call.attemptsMax) throw error;
      if (!call.isRepeated(error)) throw error;
      const delayMs = Math.max(backoffDelayMs(made, POLICY), error.details.retryAfterMs ?? 0);
      const isTooLate =
        call.deadlineAtMs !== undefined && Date.now() + delayMs >= call.deadlineAtMs;
      if (isTooLate) throw error;
      call.logger?.debug(
        { method: call.path, attempt: made, delay_ms: Math.round(delayMs), reason: error.reason },
        "call repeated",
      );
      await pause(delayMs, signalsOf(call.options));
    }
  }
}

/** Waits; whichever signal aborts ends it, with that one's error. */
async function pause(delayMs: number, signals: readonly AbortSignal[]): Promise<void> {
  const cut = new AbortController();
  const link = linkSignals(signals, () => cut.abort(link.error()));
  if (link.error() !== undefined) cut.abort(link.error());
  try {
    await sleep(delayMs, cut.signal);
  } finally {
    link.unlink();
  }
}
