/** What happens in a job, as watchers see it. */
import type { JobState } from "./job-state.ts";
import type { Failure } from "./task.ts";
import type { TaskState } from "./task-state.ts";

/** A state change as watchers see it. */
export interface JobEvent {
  readonly sequence: bigint;
  readonly jobId: string;
  readonly at: Date;
  readonly change: JobChange | TaskChange;
}

/** State changes of one job that were committed together: numbered one by one only for those who watch. */
export interface JobEvents {
  readonly jobId: string;
  /** The number of the first one; each of the others has the next. */
  readonly first: bigint;
  readonly at: Date;
  readonly changes: readonly (JobChange | TaskChange)[];
}

/** Tells changes one by one. */
export function toJobEvents({ jobId, first, at, changes }: JobEvents): JobEvent[] {
  return changes.map((change, index) => ({ sequence: first + BigInt(index), jobId, at, change }));
}

/** A state change of a job. */
export interface JobChange {
  readonly kind: "job";
  readonly jobId: string;
  readonly state: JobState;
  readonly failure: Failure | undefined;
}

/** A state change of a task. */
export interface TaskChange {
  readonly kind: "task";
  readonly jobId: string;
  readonly taskId: string;
  readonly taskKey: string;
  readonly state: TaskState;
  readonly attempt: number;
  readonly agentId: string;
  readonly failure: Failure | undefined;
}
