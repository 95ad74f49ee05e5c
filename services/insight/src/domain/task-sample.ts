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

/** Refuses times outside the window. Errors: invalid/SAMPLE_TIME_INVALID, naming the sample. */
export function assertTimeAccepted(measuredAtMs: number, nowMs: number, index: number): void {
  const age = nowMs - measuredAtMs;
  if (age <= SAMPLE_AGE_MAX_MS && -age <= SAMPLE_LEAD_MAX_MS) return;
  throw new NexusError({
    kind: "invalid",
    reason: "SAMPLE_TIME_INVALID",
    message: "A sample's time is more than 24 h in the past or 5 minutes in the future.",
    details: {
      fieldViolations: [
        { field: `samples[${index}].time`, description: "must be within the last 24 h" },
      ],
    },
  });
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
