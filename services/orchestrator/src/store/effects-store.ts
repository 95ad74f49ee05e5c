/** Everything that follows from tasks having moved: children, skips, jobs and events, in the same transaction. */
import { type Queryable, type Transaction, together } from "@nexus/postgres";
import { NexusError } from "@nexus/shared";
import { JobDeltas } from "../domain/job-deltas.ts";
import type { JobChange, JobEvents, TaskChange } from "../domain/job-event.ts";
import { isTerminalJobState } from "../domain/job-state.ts";
import type { LiveTask } from "../domain/live-task.ts";
import { feedsMap } from "../domain/map.ts";
import type { TaskState } from "../domain/task-state.ts";
import { type CancelledTask, cancelOpenTasks } from "./cancel-store.ts";
import { recordClosings } from "./closing-store.ts";
import { recordDeadLetters } from "./dead-letter-store.ts";
import { appendEvents } from "./event-store.ts";
import { skipDescendants, unblockChildren } from "./graph-store.ts";
import { type HeldJobs, stepJobs } from "./job-progress-store.ts";
import { type EndedMap, type GrowthSupply, stepMaps } from "./map-steps.ts";

const SIBLING_FAILED = "A task of the job failed that cancels the others.";

/** A task that this transaction has moved already. */
export interface MovedTask {
  readonly change: TaskChange;
  readonly from: TaskState;
  /** No other task depends on it, so nothing follows from its end. */
  readonly sink: boolean;
  /** Its failure cancels every open task of the job. */
  readonly cancelsSiblings?: boolean;
  /** A mapped task may wait for it. */
  readonly feedsMap?: boolean;
}

/** What the transaction did beyond its own moves. */
export interface Effects {
  /** Tasks that wait for nothing any more, those made for elements of lists among them; in ready already. */
  readonly unblocked: readonly LiveTask[];
  /** Every state change in order, numbered. */
  readonly events: readonly JobEvents[];
  /** Tasks that a sibling's failure cancelled: memory forgets them and their agents are told. */
  readonly cancelled: readonly TaskChange[];
  /** How many tasks are BLOCKED no longer, by namespace. */
  readonly leftBlocked: ReadonlyMap<string, number>;
}

/** What effects take from whoever caused them. */
export interface EffectsSupply extends GrowthSupply {
  /** Mapped tasks that were just inserted with nothing to wait for. */
  readonly inserted?: readonly string[];
  /** The jobs of the moves, where they were read together with what moved them. */
  readonly jobs?: HeldJobs;
  /** Something else to write, which shares the last round trip. */
  readonly alongside?: () => Promise<void>;
  /** The transaction whose COMMIT shares it too, where nothing comes after the effects. */
  readonly commits?: Transaction | undefined;
}

/** For moves that end no task. */
const NO_MAPS: EffectsSupply = { newTaskId: noMaps, findNoRoom: noMaps };

function noMaps(): never {
  throw new NexusError({
    kind: "internal",
    reason: "INTERNAL",
    message: "A mapped task went on where none was expected.",
  });
}

/** What has been done so far. */
interface Trail {
  readonly changes: TaskChange[];
  readonly unblocked: LiveTask[];
  readonly cancelled: TaskChange[];
  /** By job. */
  readonly leftBlocked: Map<string, number>;
}

/** Applies the consequences of moves. `deltas` may hold what the caller knows of its jobs already (leases, plans).
 *
 * Order: a job that starts is told before its tasks, one that ends after them.
 * Cost: 3 statements in 2 round trips, 1 when the jobs were read before; 2 more when tasks have others behind them, 1 when these have a time limit, 1 when tasks failed for good, whatever the
 * size of the batch; 1 for each job whose tasks a sibling's failure cancels; for mapped tasks see stepMaps. */
export async function applyEffects(
  client: Queryable,
  moved: readonly MovedTask[],
  deltas: JobDeltas = new JobDeltas(),
  supply: EffectsSupply = NO_MAPS,
): Promise<Effects> {
  const trail: Trail = { changes: [], unblocked: [], cancelled: [], leftBlocked: new Map() };
  let inserted = supply.inserted ?? [];
  // The end of a mapped task has consequences of its own; there are at most GRAPH_DEPTH_MAX of them in a row.
  for (let round = moved; round.length > 0 || inserted.length > 0; inserted = []) {
    const ended = await followMoves(client, round, deltas, trail);
    const steps = await stepMaps(client, { ended, inserted }, deltas, supply);
    trail.unblocked.push(...steps.created);
    round = steps.ended.map(movedByMap);
  }
  const { changes: jobs, namespaces, write } = await stepJobs(client, deltas.all, supply.jobs);
  const last = [
    appendEvents(client, inOrder(jobs, trail.changes)),
    write(),
    supply.alongside?.() ?? Promise.resolve(),
  ] as const;
  const { commits } = supply;
  const [events] = await (commits === undefined ? together(...last) : commits.commitWith(...last));
  const { unblocked, cancelled } = trail;
  const leftBlocked = sumByNamespace(trail.leftBlocked, namespaces);
  return { unblocked, events, cancelled, leftBlocked };
}

// What is made anew for each batch V8 forgets with the next collection of the whole heap, and compiles again.
const isInnerSuccess = ({ sink, change }: MovedTask) => !sink && change.state === "SUCCEEDED";
const isFailure = ({ change }: MovedTask) => change.state === "FAILED";
const idOf = ({ change }: MovedTask) => change.taskId;

/** Notes the moves and what follows from them along the edges; returns ended tasks that a mapped one may wait for. */
async function followMoves(
  client: Queryable,
  moved: readonly MovedTask[],
  deltas: JobDeltas,
  trail: Trail,
): Promise<string[]> {
  const note = (change: TaskChange, from: TaskState) => {
    trail.changes.push(change);
    deltas.move(change.jobId, from, change.state);
    if (from === "BLOCKED") count(trail.leftBlocked, change.jobId, 1);
  };
  for (const { change, from } of moved) {
    note(change, from);
    if (change.state === "FAILED" && change.failure !== undefined) {
      deltas.fail(change.jobId, { ...change.failure, taskKey: change.taskKey });
    }
  }
  // First of all: a cancelled task is neither skipped nor freed.
  for (const { change, from } of await cancelSiblings(client, moved)) {
    note(change, from);
    trail.cancelled.push(change);
  }
  const succeeded = moved.filter(isInnerSuccess);
  const failures = moved.filter(isFailure);
  const failed = failures.filter((task) => !task.sink);
  const skipped = await skipDescendants(
    client,
    failed.map(({ change }) => ({ taskId: change.taskId, key: change.taskKey })),
  );
  // After the skips: a child with a CONTINUE edge may have another one that skips it.
  const unsuccessful = [...failed.map(({ change }) => change), ...skipped];
  const unblocked = await unblockChildren(
    client,
    succeeded.map(idOf),
    unsuccessful.map((task) => task.taskId),
  );
  await recordClosings(client, unblocked);
  for (const task of unblocked) note(plainChange(task, "READY"), "BLOCKED");
  trail.unblocked.push(...unblocked);
  for (const task of skipped) {
    const { message, causeKey } = task;
    const failure = { reason: "UPSTREAM_FAILED", message, taskKey: causeKey };
    note({ ...plainChange(task, "SKIPPED"), failure }, "BLOCKED");
  }
  await recordDeadLetters(client, failures.map(idOf));
  const feeders = [...succeeded, ...failed].filter((task) => task.feedsMap === true);
  return [
    ...feeders.map(({ change }) => change.taskId),
    ...skipped.filter((task) => task.feedsMap).map((task) => task.taskId),
  ];
}

/** The end of a mapped task as a move. It ran nowhere. */
function movedByMap({ task, failure }: EndedMap): MovedTask {
  const change = plainChange(task, failure === undefined ? "SUCCEEDED" : "FAILED");
  return {
    from: "BLOCKED",
    sink: task.sink,
    cancelsSiblings: task.spec.cancelSiblingsOnFailure ?? false,
    feedsMap: feedsMap(task.spec),
    change: { ...change, failure },
  };
}

/** Cancels what is open beside tasks that failed and say so; the first such failure of a job counts. */
async function cancelSiblings(
  client: Queryable,
  moved: readonly MovedTask[],
): Promise<CancelledTask[]> {
  const cancelled: CancelledTask[] = [];
  const causes = new Map<string, string>();
  for (const { change, cancelsSiblings } of moved) {
    if (cancelsSiblings !== true || change.state !== "FAILED" || causes.has(change.jobId)) continue;
    causes.set(change.jobId, change.taskKey);
  }
  for (const [jobId, taskKey] of causes) {
    const failure = { reason: "SIBLING_FAILED", message: SIBLING_FAILED, taskKey };
    cancelled.push(...(await cancelOpenTasks(client, jobId, failure)));
  }
  return cancelled;
}

function sumByNamespace(
  byJob: ReadonlyMap<string, number>,
  namespaces: ReadonlyMap<string, string>,
): Map<string, number> {
  const sums = new Map<string, number>();
  for (const [jobId, tasks] of byJob) count(sums, namespaces.get(jobId) ?? "", tasks);
  return sums;
}

function count(counts: Map<string, number>, key: string, change: number): void {
  counts.set(key, (counts.get(key) ?? 0) + change);
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
