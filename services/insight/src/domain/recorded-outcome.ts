/** One outcome of a task attempt as it comes in, and which ones are taken. */
import { NexusError } from "@nexus/shared";
import type { AttemptKind, TalliedAttempt } from "./performance-tally.ts";

/** Attempts of a kind share one of these as they come in. */
export interface OutcomeKind extends AttemptKind {
  readonly namespace: string;
}

/** How one attempt of one task went. Durations in microseconds. */
export interface RecordedOutcome extends TalliedAttempt {
  readonly kind: OutcomeKind;
  readonly jobId: string;
  /** When it ended. */
  readonly endedAtMs: number;
}

/** Outcomes that are stored together or not at all. */
export interface OutcomeGroup {
  /** Grows from group to group of a stream. */
  readonly position: bigint;
  readonly outcomes: readonly RecordedOutcome[];
}

/** How old an outcome may be when it arrives: its day's partition must still be there. */
export const OUTCOME_AGE_MAX_MS = 86_400_000;

/** How far ahead a sender's clock may be. */
export const OUTCOME_LEAD_MAX_MS = 300_000;

/** Refuses groups that cannot be stored, and names the place of what is wrong.
 *
 * Errors: invalid/POSITIONS_NOT_RISING; invalid/SAMPLE_TIME_INVALID for a time outside the window; invalid/TEXT_NOT_STORABLE for a
 * NUL in a text: packed bytes would hold it, but no sum could ever be stored. */
export function assertStorable(groups: readonly OutcomeGroup[], nowMs: number): void {
  let last = 0n;
  const clean = new Set<OutcomeKind | string>();
  for (const [index, { position, outcomes }] of groups.entries()) {
    // Only the last position of a call is kept, so a group behind a later one would never be told apart from a repeated one.
    if (position <= last) {
      throw refusal("POSITIONS_NOT_RISING", {
        field: `groups[${index}].position`,
        description: "must be above the one before it",
      });
    }
    last = position;
    for (const [place, outcome] of outcomes.entries()) {
      if (!isTimely(nowMs - outcome.endedAtMs)) {
        throw refusal("SAMPLE_TIME_INVALID", {
          field: `groups[${index}].outcomes[${place}].end_time`,
          description: "must be at most 24 h in the past and 5 minutes in the future",
        });
      }
      if (clean.has(outcome.kind) && clean.has(outcome.jobId)) continue;
      if (holdsNul(outcome)) {
        throw refusal("TEXT_NOT_STORABLE", {
          field: `groups[${index}].outcomes[${place}]`,
          description: "must not hold a NUL character",
        });
      }
      clean.add(outcome.kind).add(outcome.jobId);
    }
  }
}

function holdsNul({ jobId, kind }: RecordedOutcome): boolean {
  const { namespace, agentId, capability, reason } = kind;
  return [namespace, jobId, agentId, capability, reason].some((text) => text.includes("\0"));
}

function isTimely(ageMs: number): boolean {
  return ageMs <= OUTCOME_AGE_MAX_MS && ageMs >= -OUTCOME_LEAD_MAX_MS;
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
