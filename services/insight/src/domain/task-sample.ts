/** One measurement of a task attempt, and which ones are taken in. */
import { NexusError } from "@nexus/shared";

/** How one attempt of one task went, as it is stored. Durations in microseconds. */
export interface TaskSample {
  readonly sampleId: string;
  readonly namespace: string;
  readonly measuredAtMs: number;
  readonly jobId: string;
  readonly taskId: string;
  readonly capability: string;
  readonly agentId: string;
  readonly attempt: number;
  readonly success: boolean;
  readonly reason: string;
  readonly queueUs: number | undefined;
  readonly runUs: number | undefined;
}

/** How old a sample may be when it arrives: its day's partition must still be there. */
export const SAMPLE_AGE_MAX_MS = 86_400_000;

/** How far ahead a sender's clock may be. */
export const SAMPLE_LEAD_MAX_MS = 300_000;

/** Refuses a sample that cannot be stored, and names its place in the batch: samples of many callers are stored together, and
 * none of them may make the others fail.
 *
 * Errors: invalid/SAMPLE_TIME_INVALID for a time outside the window; invalid/TEXT_NOT_STORABLE for a NUL in a text. */
export function assertStorable(sample: TaskSample, nowMs: number, position: number): void {
  const ageMs = nowMs - sample.measuredAtMs;
  if (ageMs > SAMPLE_AGE_MAX_MS || -ageMs > SAMPLE_LEAD_MAX_MS) {
    throw refusal("SAMPLE_TIME_INVALID", {
      field: `samples[${position}].time`,
      description: "must be at most 24 h in the past and 5 minutes in the future",
    });
  }
  const { sampleId, namespace, jobId, taskId, capability, agentId, reason } = sample;
  const texts = [sampleId, namespace, jobId, taskId, capability, agentId, reason];
  if (texts.some((text) => text.includes("\0"))) {
    throw refusal("TEXT_NOT_STORABLE", {
      field: `samples[${position}]`,
      description: "must not hold a NUL character",
    });
  }
}

/** Returns the namespace a sample belongs to: its own, which only services may choose, else the caller's.
 *
 * Errors: forbidden/NAMESPACE_FORBIDDEN. */
export function namespaceOf(
  named: string,
  caller: { readonly namespace: string; readonly kind: string },
): string {
  if (named === "" || named === caller.namespace) return caller.namespace;
  if (caller.kind === "service") return named;
  throw new NexusError({
    kind: "forbidden",
    reason: "NAMESPACE_FORBIDDEN",
    message: `The caller may not record samples for the namespace ${named}.`,
  });
}

function refusal(
  reason: string,
  violation: { readonly field: string; readonly description: string },
): NexusError {
  return new NexusError({
    kind: "invalid",
    reason,
    message: `${violation.field} ${violation.description}.`,
    details: { fieldViolations: [violation] },
  });
}
