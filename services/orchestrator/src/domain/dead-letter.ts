/** Tasks that failed for good, and what it means to run them again. */
import { JOB_LABELS_MAX } from "./limits.ts";
import type { Failure, StoredTaskSpec } from "./task.ts";

/** A task that failed for good, as reads return it. */
export interface DeadLetter {
  readonly taskId: string;
  readonly jobId: string;
  readonly taskKey: string;
  readonly capability: string;
  readonly agentId: string;
  readonly attempts: number;
  readonly failure: Failure;
  readonly failedAt: Date;
  /** Undefined until it was redriven. */
  readonly redriven: { readonly at: Date; readonly jobId: string; readonly by: string } | undefined;
}

/** Which dead letters. What is undefined does not count. */
export interface DeadLetterFilter {
  readonly capability: string | undefined;
  readonly reason: string | undefined;
  readonly jobId: string | undefined;
  readonly agentId: string | undefined;
  readonly failedSince: Date | undefined;
  readonly failedBefore: Date | undefined;
}

/** A page to read. */
export interface DeadLetterQuery {
  readonly namespace: string;
  readonly filter: DeadLetterFilter;
  readonly includeRedriven: boolean;
  readonly pageSize: number;
  readonly pageToken: string;
}

/** A page of dead letters; the token is empty on the last one. */
export interface DeadLetterPage {
  readonly deadLetters: readonly DeadLetter[];
  readonly nextPageToken: string;
}

/** Which dead letters to run again. */
export type RedriveChoice =
  | { readonly kind: "ids"; readonly taskIds: readonly string[] }
  | { readonly kind: "filter"; readonly filter: DeadLetterFilter; readonly limit: number };

/** A dead letter with the job that it became. */
export interface Redrive {
  readonly taskId: string;
  readonly jobId: string;
  /** Another request had redriven it before. */
  readonly earlier: boolean;
}

/** Most dead letters that one call runs again. */
export const REDRIVE_MAX = 100;
/** The label by which a redriven job names its dead letter. */
export const REDRIVE_LABEL = "nexus.dead-letter";

/** The labels of the job that a dead letter becomes: those of its old job, and where it comes from. */
export function redriveLabels(
  labels: Readonly<Record<string, string>>,
  taskId: string,
): Record<string, string> {
  const { [REDRIVE_LABEL]: _, ...others } = labels;
  const kept = Object.entries(others).slice(0, JOB_LABELS_MAX - 1);
  return { ...Object.fromEntries(kept), [REDRIVE_LABEL]: taskId };
}

/** The spec of the task as it runs again: what it waited for has ended, and comes with it by reference. */
export function redriveSpec(spec: StoredTaskSpec): StoredTaskSpec {
  return { ...spec, dependencies: [] };
}
