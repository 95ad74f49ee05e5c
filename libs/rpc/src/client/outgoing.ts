import { type CallOptions as GrpcCallOptions, Metadata } from "@grpc/grpc-js";
import { context, propagation } from "@opentelemetry/api";
import { NexusError } from "@nexus/shared";
import { DEADLINE_MARGIN_MS } from "../limits.ts";
import type { TokenSource } from "../principal.ts";
import type { CallOptions } from "./call-options.ts";

/** What a client adds to each of its calls. */
export interface ClientDefaults {
  readonly tokens?: TokenSource | undefined;
  /** Undefined: no deadline of its own, as for streams. */
  readonly timeoutMs?: number | undefined;
}

/** Headers and limits of one outgoing call. */
export interface Outgoing {
  readonly metadata: Metadata;
  readonly grpcOptions: GrpcCallOptions;
  readonly signals: readonly AbortSignal[];
}

/** Returns when the call has to end, in epoch milliseconds: the earliest of its own timeout and what its parent has
 * left, less the margin in which the parent still has to answer. */
export function deadlineOf(options: CallOptions, defaults: ClientDefaults): number | undefined {
  const timeoutMs = options.timeoutMs ?? defaults.timeoutMs;
  const own = timeoutMs === undefined ? Infinity : Date.now() + timeoutMs;
  const parentAtMs = options.parent?.deadlineAtMs;
  const inherited = parentAtMs === undefined ? Infinity : parentAtMs - DEADLINE_MARGIN_MS;
  const earliest = Math.min(own, inherited);
  return Number.isFinite(earliest) ? earliest : undefined;
}

/** Builds headers and limits: token, trace context of the active span, caller's own headers, deadline, signals.
 *
 * Errors: the parent's own error when its call has already ended; deadline/DEADLINE_EXCEEDED when no time is left. */
export async function prepareCall(
  options: CallOptions,
  defaults: ClientDefaults,
  deadlineAtMs: number | undefined,
): Promise<Outgoing> {
  const signals = [options.signal, options.parent?.signal].filter((s) => s !== undefined);
  for (const signal of signals) if (signal.aborted) throw abortError(signal);
  if (deadlineAtMs !== undefined && deadlineAtMs <= Date.now()) throw noTimeLeft();
  const metadata = new Metadata();
  for (const [name, value] of Object.entries(options.metadata ?? {})) metadata.set(name, value);
  const token = options.token ?? (await defaults.tokens?.token());
  if (token !== undefined) metadata.set("authorization", `Bearer ${token}`);
  propagation.inject(context.active(), metadata, { set: (m, key, value) => m.set(key, value) });
  return {
    metadata,
    grpcOptions: deadlineAtMs === undefined ? {} : { deadline: deadlineAtMs },
    signals,
  };
}

/** Cancels a call when a signal aborts; returns what stops listening and the error to report, once it did. */
export function linkSignals(
  signals: readonly AbortSignal[],
  cancel: () => void,
): { unlink(): void; error(): NexusError | undefined } {
  const onAbort = () => cancel();
  for (const signal of signals) signal.addEventListener("abort", onAbort, { once: true });
  return {
    unlink() {
      for (const signal of signals) signal.removeEventListener("abort", onAbort);
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
