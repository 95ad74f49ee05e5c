/** The states of a job, and how they follow from its tasks. */
import type { Failure } from "./task.ts";
import type { TaskBucket } from "./task-state.ts";

/** Where a job is. */
export type JobState =
  | "PENDING"
  | "PLANNING"
  | "RUNNING"
  | "PAUSED"
  | "COMPLETED"
  | "PARTIAL"
  | "FAILED"
  | "CANCELLED";

/** What can happen to a job. */
export type JobEvent =
  /** A task of the user's or of the plan was leased. */
  | "TASK_LEASED"
  /** The task that asks a planner was leased. */
  | "PLANNER_LEASED"
  /** A plan was admitted and its tasks inserted. */
  | "PLANNED"
  /** Every task is terminal, none FAILED. */
  | "ALL_SUCCEEDED"
  /** Every task is terminal, and each one that FAILED is tolerated by its edges while something came out. */
  | "ENDED_IN_PART"
  /** Every task is terminal, at least one FAILED. */
  | "ENDED_WITH_FAILURE"
  | "CANCEL"
  | "PAUSE"
  /** It goes on: something of it was leased. */
  | "RESUME"
  /** It goes on, and its planner with it. */
  | "RESUME_PLANNING"
  /** It goes on, and nothing of it was leased yet. */
  | "RESUME_UNSTARTED";

/** Every state, in the order of a job's life. */
export const JOB_STATES: readonly JobState[] = [
  "PENDING",
  "PLANNING",
  "RUNNING",
  "PAUSED",
  "COMPLETED",
  "PARTIAL",
  "FAILED",
  "CANCELLED",
];

/** Every event. */
export const JOB_EVENTS: readonly JobEvent[] = [
  "TASK_LEASED",
  "PLANNER_LEASED",
  "PLANNED",
  "ALL_SUCCEEDED",
  "ENDED_IN_PART",
  "ENDED_WITH_FAILURE",
  "CANCEL",
  "PAUSE",
  "RESUME",
  "RESUME_PLANNING",
  "RESUME_UNSTARTED",
];

/** The state machine. An event that a state does not list changes nothing; a terminal state lists none. */
export const JOB_TRANSITIONS: Readonly<
  Record<JobState, Readonly<Partial<Record<JobEvent, JobState>>>>
> = {
  PENDING: {
    TASK_LEASED: "RUNNING",
    PLANNER_LEASED: "PLANNING",
    // A job may end without anything being leased: NO_AGENT_IN_TIME, beside outputs that a new generation keeps, or the
    // empty list of a task that is mapped over one of these.
    ALL_SUCCEEDED: "COMPLETED",
    ENDED_IN_PART: "PARTIAL",
    ENDED_WITH_FAILURE: "FAILED",
    CANCEL: "CANCELLED",
    PAUSE: "PAUSED",
  },
  PLANNING: {
    PLANNED: "RUNNING",
    ENDED_WITH_FAILURE: "FAILED",
    CANCEL: "CANCELLED",
    PAUSE: "PAUSED",
  },
  RUNNING: {
    ALL_SUCCEEDED: "COMPLETED",
    ENDED_IN_PART: "PARTIAL",
    ENDED_WITH_FAILURE: "FAILED",
    CANCEL: "CANCELLED",
    PAUSE: "PAUSED",
  },
  PAUSED: {
    RESUME: "RUNNING",
    RESUME_PLANNING: "PLANNING",
    RESUME_UNSTARTED: "PENDING",
    // What was with an agent when it was paused may be the last of it.
    ALL_SUCCEEDED: "COMPLETED",
    ENDED_IN_PART: "PARTIAL",
    ENDED_WITH_FAILURE: "FAILED",
    CANCEL: "CANCELLED",
  },
  COMPLETED: {},
  PARTIAL: {},
  FAILED: {},
  CANCELLED: {},
};

/** Returns the state after an event; the same one when the event is not legal in this state. */
export function nextJobState(state: JobState, event: JobEvent): JobState {
  return JOB_TRANSITIONS[state][event] ?? state;
}

/** Returns the event by which a paused job goes on where it was. */
export function resumeEventOf(job: {
  /** Something of it was leased. */
  readonly started: boolean;
  /** Its plan was asked for and is not there. */
  readonly unplanned: boolean;
}): JobEvent {
  if (!job.started) return "RESUME_UNSTARTED";
  return job.unplanned ? "RESUME_PLANNING" : "RESUME";
}

/** Says whether a state is final. */
export function isTerminalJobState(state: JobState): boolean {
  return Object.keys(JOB_TRANSITIONS[state]).length === 0;
}

/** How many of a job's tasks are in each bucket. */
export type TaskCounts = Readonly<Record<TaskBucket | "total", number>>;

/** The counts of a job with no tasks. */
export const NO_TASKS: TaskCounts = {
  total: 0,
  blocked: 0,
  ready: 0,
  active: 0,
  succeeded: 0,
  failed: 0,
  cancelled: 0,
  skipped: 0,
};

/** The part of a job that changes while it runs. */
export interface JobProgress {
  readonly state: JobState;
  readonly counts: TaskCounts;
  /** Of the first task that failed; shown once the job is terminal. */
  readonly failure: Failure | undefined;
}

/** A job of which nothing was leased yet. */
export function newJobProgress(tasks: {
  readonly total: number;
  readonly blocked: number;
}): JobProgress {
  const { total, blocked } = tasks;
  const counts = { ...NO_TASKS, total, blocked, ready: total - blocked };
  return { state: "PENDING", counts, failure: undefined };
}

/** What one batch did to one job. */
export interface JobDelta {
  readonly counts: TaskCounts;
  /** The first failure of the batch; kept only if the job has none yet. */
  readonly failure: Failure | undefined;
  readonly events: readonly JobEvent[];
}

/** Applies what a batch did to a job: counts move, and the state follows from events and counts. `tolerated` says that
 * every failure of the job is.
 *
 * The end of a job is seen here and nowhere else, so it is computed exactly when the last task moves. */
export function applyJobDelta(job: JobProgress, delta: JobDelta, tolerated = false): JobProgress {
  const counts = addCounts(job.counts, delta.counts);
  const failure = job.failure ?? delta.failure;
  let state = job.state;
  for (const event of delta.events) state = nextJobState(state, event);
  const open = counts.blocked + counts.ready + counts.active;
  if (open === 0 && counts.total > 0) {
    state = nextJobState(state, endOf(counts, tolerated));
  }
  return { state, counts, failure };
}

function endOf(counts: TaskCounts, tolerated: boolean): JobEvent {
  if (counts.failed === 0) return "ALL_SUCCEEDED";
  return tolerated ? "ENDED_IN_PART" : "ENDED_WITH_FAILURE";
}

/** Adds two sets of counts. */
export function addCounts(a: TaskCounts, b: TaskCounts): TaskCounts {
  return {
    total: a.total + b.total,
    blocked: a.blocked + b.blocked,
    ready: a.ready + b.ready,
    active: a.active + b.active,
    succeeded: a.succeeded + b.succeeded,
    failed: a.failed + b.failed,
    cancelled: a.cancelled + b.cancelled,
    skipped: a.skipped + b.skipped,
  };
}
