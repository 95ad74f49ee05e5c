/** Everything that follows from tasks having moved: children, skips, jobs and events, in the same transaction. */
import type { Queryable } from "@nexus/postgres";
import { JobDeltas } from "../domain/job-deltas.ts";
import type { JobChange, JobEvent, TaskChange } from "../domain/job-event.ts";
import { isTerminalJobState } from "../domain/job-state.ts";
import type { LiveTask } from "../domain/live-task.ts";
import type { TaskState } from "../domain/task-state.ts";
import { recordClosings } from "./closing-store.ts";
import { recordDeadLetters } from "./dead-letter-store.ts";
import { appendEvents } from "./event-store.ts";
import { skipDescendants, unblockChildren } from "./graph-store.ts";
import { applyJobDeltas } from "./job-progress-store.ts";

/** A task that this transaction has moved already. */
export interface MovedTask {
  readonly change: TaskChange;
  readonly from: TaskState;
  /** No other task depends on it, so nothing follows from its end. */
  readonly sink: boolean;
}

/** What the transaction did beyond its own moves. */
export interface Effects {
  /** Tasks that wait for nothing any more; in ready already. */
  readonly unblocked: readonly LiveTask[];
  /** Every state change in order, numbered. */
  readonly events: readonly JobEvent[];
  /** How many blocked tasks became ready or were skipped. */
  readonly unblockedOrSkipped: number;
}

/** Applies the consequences of moves. `deltas` may hold what the caller knows of its jobs already (leases, plans).
 *
 * Order: a job that starts is told before its tasks, one that ends after them.
 * Cost: 3 statements, 2 more when tasks have others behind them, 1 when these have a time limit, 1 when tasks failed for good; whatever the size of the batch. */
export async function applyEffects(
  client: Queryable,
  moved: readonly MovedTask[],
  deltas: JobDeltas = new JobDeltas(),
): Promise<Effects> {
  const changes: TaskChange[] = [];
  for (const { change, from } of moved) {
    changes.push(change);
    deltas.move(change.jobId, from, change.state);
    if (change.state === "FAILED" && change.failure !== undefined) {
      deltas.fail(change.jobId, { ...change.failure, taskKey: change.taskKey });
    }
  }
  const inner = moved.filter((task) => !task.sink).map((task) => task.change);
  const succeeded = inner.filter((change) => change.state === "SUCCEEDED");
  const unblocked = await unblockChildren(
    client,
    succeeded.map((change) => change.taskId),
  );
  await recordClosings(client, unblocked);
  const failed = inner.filter((change) => change.state === "FAILED");
  const skipped = await skipDescendants(
    client,
    failed.map((change) => ({ taskId: change.taskId, key: change.taskKey })),
  );
  for (const task of unblocked) {
    changes.push(plainChange(task, "READY"));
    deltas.move(task.jobId, "BLOCKED", "READY");
  }
  for (const task of skipped) {
    const { message, causeKey } = task;
    const failure = { reason: "UPSTREAM_FAILED", message, taskKey: causeKey };
    changes.push({ ...plainChange(task, "SKIPPED"), failure });
    deltas.move(task.jobId, "BLOCKED", "SKIPPED");
  }
  await recordDeadLetters(
    client,
    moved.flatMap(({ change }) => (change.state === "FAILED" ? change.taskId : [])),
  );
  const jobs = await applyJobDeltas(client, deltas.all);
  const events = await appendEvents(client, inOrder(jobs, changes));
  return { unblocked, events, unblockedOrSkipped: unblocked.length + skipped.length };
}

function inOrder(
  jobs: readonly JobChange[],
  tasks: readonly TaskChange[],
): (JobChange | TaskChange)[] {
  const starting = jobs.filter((job) => !isTerminalJobState(job.state));
  const ending = jobs.filter((job) => isTerminalJobState(job.state));
  return [...starting, ...tasks, ...ending];
}

/** A change that concerns no agent. */
function plainChange(
  task: { readonly jobId: string; readonly taskId: string; readonly key: string },
  state: TaskState,
): TaskChange {
  return {
    kind: "task",
    jobId: task.jobId,
    taskId: task.taskId,
    taskKey: task.key,
    state,
    attempt: 0,
    agentId: "",
    failure: undefined,
  };
}
