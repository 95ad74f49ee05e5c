import { type CallOptions as GrpcCallOptions, Metadata } from "@grpc/grpc-js";
import { NexusError, onAbort, withDeadline } from "@nexus/shared";
import { propagation, type TextMapSetter } from "@opentelemetry/api";
import { DEADLINE_MARGIN_MS } from "../limits.ts";
import type { TokenSource } from "../principal.ts";
import { type CallOptions, traceContextOf } from "./call-options.ts";

/** What a client adds to each of its calls. */
export interface ClientDefaults {
  /** Whom the client acts for, unless the call brings its own token. */
  readonly tokens?: TokenSource | undefined;
}

/** Headers and limits of one outgoing call. */
export interface Outgoing {
  readonly metadata: Metadata;
  readonly grpcOptions: GrpcCallOptions;
  readonly signals: readonly AbortSignal[];
}

/** Returns when the call has to end, in epoch milliseconds: the earlier of its own timeout and what its parent has
 * left, less the margin in which the parent still has to answer. */
export function deadlineOf(
  options: CallOptions,
  defaultTimeoutMs = Number.POSITIVE_INFINITY,
): number | undefined {
  const own = Date.now() + (options.timeoutMs ?? defaultTimeoutMs);
  const parentAtMs = options.parent?.deadlineAtMs ?? Number.POSITIVE_INFINITY;
  const earliest = Math.min(own, parentAtMs - DEADLINE_MARGIN_MS);
  return Number.isFinite(earliest) ? earliest : undefined;
}

/** Builds headers and limits: token, trace context, caller's own headers, deadline, signals.
 *
 * Errors: the parent's own error when its call has already ended; deadline/DEADLINE_EXCEEDED when no time is left. */
export async function prepareCall(
  options: CallOptions & ClientDefaults,
  deadlineAtMs: number | undefined,
): Promise<Outgoing> {
  const signals = signalsOf(options);
  assertTimeLeft(signals, deadlineAtMs);
  const metadata = new Metadata();
  for (const [name, value] of Object.entries(options.metadata ?? {})) metadata.set(name, value);
  propagation.inject(traceContextOf(options), metadata, METADATA_SETTER);
  const token = options.token ?? (await fetchToken(options.tokens, deadlineAtMs));
  if (token !== undefined) metadata.set("authorization", `Bearer ${token}`);
  assertTimeLeft(signals, deadlineAtMs);
  return {
    metadata,
    grpcOptions: deadlineAtMs === undefined ? {} : { deadline: deadlineAtMs },
    signals,
  };
}

const METADATA_SETTER: TextMapSetter<Metadata> = {
  set: (metadata, key, value) => metadata.set(key, value),
};

function assertTimeLeft(signals: readonly AbortSignal[], deadlineAtMs: number | undefined): void {
  for (const signal of signals) if (signal.aborted) throw abortError(signal);
  if (deadlineAtMs !== undefined && deadlineAtMs <= Date.now()) throw noTimeLeft();
}

async function fetchToken(
  tokens: TokenSource | undefined,
  deadlineAtMs: number | undefined,
): Promise<string | undefined> {
  if (tokens === undefined) return undefined;
  if (deadlineAtMs === undefined) return tokens.token();
  return withDeadline(tokens.token(), deadlineAtMs - Date.now(), noTimeLeft);
}

/** What ends a call: its own signal, and that of the call being served. */
export function signalsOf(options: CallOptions): readonly AbortSignal[] {
  return [options.signal, options.parent?.signal].filter((s) => s !== undefined);
}

/** Cancels a call when a signal aborts; returns what stops listening and the error to report, once it did. */
export function linkSignals(
  signals: readonly AbortSignal[],
  cancel: () => void,
): { unlink(): void; error(): NexusError | undefined } {
  const leaves = signals.map((signal) => onAbort(signal, cancel));
  return {
    unlink() {
      for (const leave of leaves) leave();
    },
    error() {
      const aborted = signals.find((signal) => signal.aborted);
      return aborted === undefined ? undefined : abortError(aborted);
    },
  };
}

/** Returns the signal's own NexusError, else cancelled/CANCELLED. */
export function abortError(signal: AbortSignal): NexusError {
  if (signal.reason instanceof NexusError) return signal.reason;
  return new NexusError({
    kind: "cancelled",
    reason: "CANCELLED",
    message: "The caller cancelled the call.",
    cause: signal.reason,
  });
}

function noTimeLeft(): NexusError {
  return new NexusError({
    kind: "deadline",
    reason: "DEADLINE_EXCEEDED",
    message: "No time was left to make the call.",
  });
}
