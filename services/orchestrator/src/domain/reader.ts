/** What reads need of the store. Reads see what is committed and never wait for the owner's transactions. */
import type { DeadLetterPage, DeadLetterQuery } from "./dead-letter.ts";
import type { JobView } from "./job.ts";
import type { JobEvent } from "./job-event.ts";
import type { JobState } from "./job-state.ts";
import type { AttemptView, Payload, TaskView } from "./task.ts";
import type { TaskState } from "./task-state.ts";
import type { StreamChunk, StreamSource } from "./task-stream.ts";

/** A stretch of time, its end not included; open where undefined. */
export interface TimeRange {
  readonly from: Date | undefined;
  readonly until: Date | undefined;
}

/** Which jobs to list. */
export interface JobFilter {
  readonly namespace: string;
  /** Empty means all. */
  readonly states: readonly JobState[];
  readonly labels: Readonly<Record<string, string>>;
  readonly created: TimeRange;
  readonly ended: TimeRange;
  /** Jobs with a task of it; empty means all, as below. */
  readonly capability: string;
  /** Jobs of which it had an attempt. */
  readonly agentId: string;
  readonly principalId: string;
  readonly pageSize: number;
  readonly pageToken: string;
}

/** Which tasks to list. */
export interface TaskFilter {
  readonly jobId: string;
  /** Empty means all. */
  readonly states: readonly TaskState[];
  readonly pageSize: number;
  readonly pageToken: string;
}

/** Which tasks to find, across jobs. Empty means all. */
export interface TaskSearch {
  readonly namespace: string;
  readonly states: readonly TaskState[];
  readonly capability: string;
  /** Tasks of which it had an attempt. */
  readonly agentId: string;
  readonly failureReason: string;
  readonly jobLabels: Readonly<Record<string, string>>;
  readonly created: TimeRange;
  readonly ended: TimeRange;
  readonly pageSize: number;
  readonly pageToken: string;
}

/** A page of jobs; the token is empty on the last one. */
export interface JobPage {
  readonly jobs: readonly JobView[];
  readonly nextPageToken: string;
}

/** A page of tasks; the token is empty on the last one. */
export interface TaskPage {
  readonly tasks: readonly TaskView[];
  readonly nextPageToken: string;
}

/** How events are read. */
export interface EventPage {
  /** When the job was committed: it spares the partitions of earlier days. */
  readonly since: Date;
  readonly limit: number;
}

/** Behind which chunk of which attempt to go on. */
export interface ChunkPlace {
  readonly taskId: string;
  readonly fence: bigint;
  readonly after: bigint;
}

/** How many chunks to read: no further one once they hold so many bytes. */
export interface ChunkLimits {
  readonly items: number;
  readonly bytes: number;
}

/** Reads of jobs and tasks. Ids must have their form (isJobId, isTaskId). */
export interface Reader {
  /** Undefined when the namespace has no such job. */
  job(namespace: string, jobId: string): Promise<JobView | undefined>;
  /** Newest first. Errors: invalid/PAGE_TOKEN_INVALID. */
  jobs(filter: JobFilter): Promise<JobPage>;
  /** Outputs that no other task depends on, by key; none when they exceed RESULTS_MAX_BYTES. */
  results(jobId: string): Promise<ReadonlyMap<string, Payload>>;
  /** With payloads; undefined when the namespace has no such task. */
  task(namespace: string, taskId: string): Promise<TaskView | undefined>;
  /** Without payloads. */
  bareTask(namespace: string, taskId: string): Promise<TaskView | undefined>;
  /** In the order of submission. Errors: invalid/PAGE_TOKEN_INVALID. */
  tasks(filter: TaskFilter): Promise<TaskPage>;
  /** Newest first. Errors: invalid/PAGE_TOKEN_INVALID. */
  searchTasks(search: TaskSearch): Promise<TaskPage>;
  /** Oldest first, the one under way last. */
  attempts(taskId: string, limit: number): Promise<readonly AttemptView[]>;
  /** The newest one, running or ended; undefined when there was none. */
  newestAttempt(taskId: string): Promise<StreamSource | undefined>;
  /** Kept chunks of an attempt, lowest first; empty when there are no more. One may come twice. */
  chunks(place: ChunkPlace, limits: ChunkLimits): Promise<readonly StreamChunk[]>;
  /** The latest failure first. Errors: invalid/PAGE_TOKEN_INVALID. */
  deadLetters(query: DeadLetterQuery): Promise<DeadLetterPage>;
  /** Events with a number above `after`, lowest first. */
  events(jobId: string, after: bigint, page: EventPage): Promise<readonly JobEvent[]>;
}
