/** What a task's failure means for its next attempt. */
export interface TaskFailureReason {
  /** `costed`: tried again while attempts are left; `free`: tried again and no attempt is used up; `never`: final. */
  readonly retry: "costed" | "free" | "never";
  /** One line for docs/errors.md, in the present tense. */
  readonly meaning: string;
}

function failure(retry: TaskFailureReason["retry"], meaning: string): TaskFailureReason {
  return { retry, meaning };
}

/** The reasons that NEXUS itself stores with tasks (nexus.orchestrator.v1.Failure); agents add words of their own.
 *
 * They are not thrown: nobody's call failed, so they have no kind. Append-only, since retry policies name them. */
export const TASK_FAILURE_REASONS = {
  AGENT_LOST: failure("free", "The agent's session ended and did not come back in time."),
  AGENT_RELEASED: failure("free", "The agent gave the task back, for example because it drains."),
  ASSIGNMENT_REFUSED: failure("free", "The task never reached the agent it was leased to."),
  NO_SLOT: failure("free", "The slot it was meant for went to another replica's task."),
  AGENT_ERROR: failure("costed", "The agent's code failed with an error that names no reason."),
  MAX_LOSSES: failure(
    "never",
    "As many agents as max_losses allows went down with the task in hand; it may be why.",
  ),
  DEADLINE_EXCEEDED: failure("costed", "The attempt took longer than start_to_close."),
  HEARTBEAT_TIMEOUT: failure("costed", "The agent said nothing of the task for heartbeat_timeout."),
  CAPABILITY_UNKNOWN: failure("costed", "The agent does not have the capability after all."),
  INPUT_INVALID: failure("never", "The input breaks the schema that the capability declares."),
  OUTPUT_INVALID: failure("never", "The output breaks the schema that the capability declares."),
  INPUT_TOO_LARGE: failure("never", "The outputs passed to the task are larger than the limit."),
  OUTPUT_TOO_LARGE: failure("never", "The agent's output is larger than the limit."),
  INPUT_NOT_STORED: failure("never", "A body that the task is given is no longer stored."),
  OUTPUT_NOT_STORED: failure("never", "The output refers to a body that is not stored."),
  NO_AGENT_IN_TIME: failure("never", "No agent took the task within schedule_to_start."),
  SCHEDULE_TO_CLOSE: failure("never", "The task was not done within schedule_to_close."),
  PLAN_REJECTED: failure("never", "The planner's answer is no plan that may run; it says why."),
  MAP_SOURCE_INVALID: failure("never", "The output that the task is mapped over is no JSON list."),
  MAP_TOO_LARGE: failure("never", "The list has more elements than the task or the job allows."),
  QUEUE_FULL: failure(
    "never",
    "The tasks of a list's elements find no room among those that wait.",
  ),
  UPSTREAM_FAILED: failure("never", "A task that this one depends on failed."),
  SIBLING_FAILED: failure("never", "A task of the job failed that cancels all others."),
  JOB_CANCELLED: failure("never", "The job was cancelled."),
} as const satisfies Readonly<Record<string, TaskFailureReason>>;
