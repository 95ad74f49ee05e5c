/** The states of a task and what moves it from one to the next, as one table that code and SQL guards both read. */

/** Where a task is. */
export type TaskState =
  | "BLOCKED"
  | "READY"
  | "LEASED"
  | "RUNNING"
  | "SUCCEEDED"
  | "FAILED"
  | "CANCELLED"
  | "SKIPPED";

/** What can happen to a task. */
export type TaskEvent =
  /** The last task it depends on succeeded. */
  | "UNBLOCK"
  /** A mapped task: what its elements' tasks put out is put together. */
  | "GATHER"
  /** A mapped task: its list cannot be mapped over, or not be put together. */
  | "REJECT"
  /** A task it depends on, directly or not, did not succeed. */
  | "SKIP"
  /** An agent was chosen and its lease committed. */
  | "LEASE"
  /** The agent said that it began. */
  | "ACCEPT"
  /** The attempt ended with an output. */
  | "SUCCEED"
  /** The attempt ended without one and another may follow: a retry, a lost agent, a refusal. */
  | "REQUEUE"
  /** The task is given up. */
  | "FAIL"
  /** No agent took it in time. */
  | "EXPIRE"
  /** Its job was cancelled, or a sibling failed that cancels the others. */
  | "CANCEL";

/** Every state, in the order of a task's life. */
export const TASK_STATES: readonly TaskState[] = [
  "BLOCKED",
  "READY",
  "LEASED",
  "RUNNING",
  "SUCCEEDED",
  "FAILED",
  "CANCELLED",
  "SKIPPED",
];

/** Every event. */
export const TASK_EVENTS: readonly TaskEvent[] = [
  "UNBLOCK",
  "GATHER",
  "REJECT",
  "SKIP",
  "LEASE",
  "ACCEPT",
  "SUCCEED",
  "REQUEUE",
  "FAIL",
  "EXPIRE",
  "CANCEL",
];

/** The state machine. An event that a state does not list changes nothing; a terminal state lists none.
 *
 * LEASED -> SUCCEEDED is legal: the agent's two words may arrive in one batch, or the first may be lost. */
export const TASK_TRANSITIONS: Readonly<
  Record<TaskState, Readonly<Partial<Record<TaskEvent, TaskState>>>>
> = {
  BLOCKED: {
    UNBLOCK: "READY",
    GATHER: "SUCCEEDED",
    REJECT: "FAILED",
    SKIP: "SKIPPED",
    CANCEL: "CANCELLED",
  },
  READY: { LEASE: "LEASED", EXPIRE: "FAILED", CANCEL: "CANCELLED" },
  LEASED: {
    ACCEPT: "RUNNING",
    SUCCEED: "SUCCEEDED",
    REQUEUE: "READY",
    FAIL: "FAILED",
    CANCEL: "CANCELLED",
  },
  RUNNING: { SUCCEED: "SUCCEEDED", REQUEUE: "READY", FAIL: "FAILED", CANCEL: "CANCELLED" },
  SUCCEEDED: {},
  FAILED: {},
  CANCELLED: {},
  SKIPPED: {},
};

/** Returns the state after an event, or undefined when the event is not legal in this state. */
export function nextTaskState(state: TaskState, event: TaskEvent): TaskState | undefined {
  return TASK_TRANSITIONS[state][event];
}

/** Returns the states in which an event is legal: the guard of the SQL statement that applies it. */
export function statesThatAllow(event: TaskEvent): readonly TaskState[] {
  return TASK_STATES.filter((state) => TASK_TRANSITIONS[state][event] !== undefined);
}

/** Says whether a state is final. */
export function isTerminalTaskState(state: TaskState): boolean {
  return Object.keys(TASK_TRANSITIONS[state]).length === 0;
}

/** How a job counts its tasks: LEASED and RUNNING are both `active`. */
export type TaskBucket =
  | "blocked"
  | "ready"
  | "active"
  | "succeeded"
  | "failed"
  | "cancelled"
  | "skipped";

/** In which bucket of its job's counts a task of this state is. */
export const TASK_BUCKETS: Readonly<Record<TaskState, TaskBucket>> = {
  BLOCKED: "blocked",
  READY: "ready",
  LEASED: "active",
  RUNNING: "active",
  SUCCEEDED: "succeeded",
  FAILED: "failed",
  CANCELLED: "cancelled",
  SKIPPED: "skipped",
};
