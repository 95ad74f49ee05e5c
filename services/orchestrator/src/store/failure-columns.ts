/** A failure as three columns. */
import type { Failure } from "../domain/task.ts";

/** The columns of a failure; all null when there is none. */
export interface FailureColumns {
  readonly failure_reason: string | null;
  readonly failure_message: string | null;
  readonly failure_task_key?: string | null;
}

/** Reads a failure from its columns. */
export function toFailureOrNone(row: FailureColumns): Failure | undefined {
  if (row.failure_reason === null) return undefined;
  return {
    reason: row.failure_reason,
    message: row.failure_message ?? "",
    taskKey: row.failure_task_key ?? "",
  };
}
