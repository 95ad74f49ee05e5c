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
