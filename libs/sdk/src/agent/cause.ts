/** What an agent's messages are sent because of. */
import { durationFromMs, durationMs } from "@bufbuild/protobuf/wkt";
import type { Delivery } from "@nexus/proto/mesh";
import type { SendInit } from "./outbox.ts";

/** What caused a message: nothing, a message that is being handled, or a task. */
export interface Cause {
  readonly hops: number;
  readonly ancestors: readonly string[];
  /** When whoever waits at the beginning gives up; undefined when nobody waits. */
  readonly deadlineAtMs: number | undefined;
  readonly lease: { readonly taskId: string; readonly fence: bigint } | undefined;
  /** Replaces the trace of the calling code. */
  readonly traceparent: string | undefined;
}

/** A message that is being handled is the cause of what its handler sends. */
export function causeOf(delivery: Delivery, nowMs: number): Cause {
  const { chain, fromPrincipalId, expectsReply, timeout, traceparent } = delivery;
  const own = expectsReply && timeout !== undefined ? durationMs(timeout) : undefined;
  const inherited = chain?.left === undefined ? undefined : durationMs(chain.left);
  const leftMs = Math.min(own ?? Number.POSITIVE_INFINITY, inherited ?? Number.POSITIVE_INFINITY);
  return {
    hops: chain?.hops ?? 1,
    ancestors: chain?.ancestors ?? [fromPrincipalId],
    deadlineAtMs: Number.isFinite(leftMs) ? nowMs + leftMs : undefined,
    lease: undefined,
    traceparent: traceparent === "" ? undefined : traceparent,
  };
}

/** A task is the cause of what its handler sends, under its lease and within its time. */
export function causeOfTask(
  lease: { readonly taskId: string; readonly fence: bigint },
  deadlineAtMs: number,
): Cause {
  return { hops: 0, ancestors: [], deadlineAtMs, lease, traceparent: undefined };
}

/** Writes a cause into a message. A durable one has a time of its own. */
export function causeFields(cause: Cause | undefined, nowMs: number): Partial<SendInit> {
  if (cause === undefined) return {};
  const { hops, ancestors, deadlineAtMs, lease } = cause;
  const left =
    deadlineAtMs === undefined
      ? {}
      : { left: durationFromMs(Math.max(0, Math.round(deadlineAtMs - nowMs))) };
  const chain = { hops, ancestors: [...ancestors], ...left };
  return { chain, ...(lease === undefined ? {} : { lease }) };
}
