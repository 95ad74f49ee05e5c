/** Retries and replays ended jobs, each as a new generation: a job of its own that keeps outputs by reference. */
import type { Queryable } from "@nexus/postgres";
import { NexusError } from "@nexus/shared";
import {
  type Generation,
  type Lineage,
  type PriorTask,
  planReplay,
  planRetry,
  redoneTasks,
} from "../domain/generation.ts";
import type { JobSubmission, JobView } from "../domain/job.ts";
import { JobDeltas } from "../domain/job-deltas.ts";
import type { JobEvents } from "../domain/job-event.ts";
import { isTerminalJobState, newJobProgress } from "../domain/job-state.ts";
import { shardOf, toShard } from "../domain/shards.ts";
import { gateOf, type NewTask, readyTasks } from "../domain/task-plan.ts";
import { applyEffects, type Effects } from "../store/effects-store.ts";
import { appendEvents } from "../store/event-store.ts";
import {
  copyInputs,
  holdPrior,
  keepTasks,
  markGeneration,
  nextGeneration,
  readPriorTasks,
} from "../store/generation-store.ts";
import { insertJobs } from "../store/job-insert.ts";
import { readJob } from "../store/job-reader.ts";
import { copyItems } from "../store/map-store.ts";
import { inheritPayloads } from "../store/payload-store.ts";
import { insertTasks } from "../store/task-insert.ts";
import { notOwner } from "../store/writer-session.ts";
import { jobNotFound } from "./canceller.ts";
import type { FreedTask } from "./freed-tasks.ts";
import type { EngineParts } from "./parts.ts";
import { publish } from "./publish.ts";
import { type JobOrder, mayBeStored, recordOnce } from "./recorded-request.ts";
import { growthOf, taskIdsOf } from "./task-ids.ts";

/** Which job to run again, and from where. */
export interface ReplayOrder extends JobOrder {
  /** Key of the task to begin with; undefined for everything that did not succeed. */
  readonly fromKey: string | undefined;
  /** W3C trace context of the caller; may be empty. */
  readonly traceparent: string;
}

/** What one transaction made. */
interface Made {
  readonly job: JobView;
  readonly tasks: readonly NewTask[];
  readonly effects: Effects;
  readonly events: readonly JobEvents[];
}

/** What the replayer needs beside the shared parts. */
export interface ReplayerDeps {
  readonly parts: EngineParts;
  readonly onReady: (tasks: readonly FreedTask[]) => void;
}

/** Owns nothing. A new generation lies in the shard of the job that it comes from, and is written in turn with all that happens there:
 * it is rare, and so it needs no handover of its own when shards move. */
export class Replayer {
  readonly #parts: EngineParts;
  readonly #deps: ReplayerDeps;
  readonly #newTaskId: (jobId: string) => string;

  constructor(deps: ReplayerDeps) {
    this.#deps = deps;
    this.#parts = deps.parts;
    this.#newTaskId = taskIdsOf(deps.parts);
  }

  /** Commits a new generation and returns it; a repeated request returns the one that the first made.
   *
   * Errors: not_found/JOB_NOT_FOUND, not_found/TASK_NOT_FOUND; precondition/JOB_NOT_ENDED, precondition/NOTHING_TO_RETRY;
   * exhausted/QUEUE_FULL; conflict/REQUEST_ID_REUSED; unavailable/NOT_OWNER. */
  async replay(order: ReplayOrder): Promise<JobView> {
    try {
      return await this.#replay(order);
    } catch (error) {
      if (!mayBeStored(error)) noteMade(order, "");
      throw error;
    }
  }

  async #replay(order: ReplayOrder): Promise<JobView> {
    const made = await this.#parts.ledger.run(
      async (client) => {
        if (!this.#parts.ledger.owns(order.jobId)) throw notOwner("Another replica owns the job.");
        return this.#make(client, order);
      },
      (made) => {
        if ("earlier" in made) return;
        order.leaf?.stored();
        this.#apply(made, order);
      },
    );
    return "earlier" in made ? made.earlier : made.job;
  }

  async #make(
    client: Queryable,
    order: ReplayOrder,
  ): Promise<Made | { readonly earlier: JobView }> {
    const { namespace } = order;
    await holdPrior(client, order.jobId);
    const prior = await readJob(client, namespace, order.jobId);
    if (prior === undefined) throw jobNotFound();
    const jobId = toShard(this.#parts.ids.next("job"), shardOf(order.jobId));
    const method = order.fromKey === undefined ? "RetryJob" : "ReplayJob";
    noteMade(order, jobId);
    const earlier = await recordOnce(client, method, { ...order, jobId });
    if (earlier !== undefined) {
      const job = await readJob(client, namespace, earlier.jobId);
      if (job === undefined) throw jobNotFound();
      noteMade(order, job.jobId);
      return { earlier: job };
    }
    assertMayReplay(prior, order.fromKey);
    const generation = await planGeneration(client, order);
    this.#parts.backlog.assertRoom(namespace, generation.redone.length);
    const home = { jobId, namespace, priority: prior.priority };
    const tasks = redoneTasks(generation, home, () => this.#newTaskId(jobId));
    await this.#insert(client, { order, prior, jobId, generation, tasks });
    const events = await appendEvents(client, [
      { kind: "job", jobId, state: "PENDING", failure: undefined },
    ]);
    // A mapped task whose list is kept begins at once.
    const inserted = tasks.filter(
      ({ spec, pending }) => spec.map !== undefined && pending === gateOf(spec),
    );
    const effects = await applyEffects(client, [], new JobDeltas(), {
      ...growthOf(this.#parts),
      inserted: inserted.map((task) => task.taskId),
    });
    const job = await readJob(client, namespace, jobId);
    if (job === undefined) throw jobNotFound();
    return { job, tasks, effects, events: [...events, ...effects.events] };
  }

  async #insert(
    client: Queryable,
    { order, prior, jobId, generation, tasks }: NewGeneration,
  ): Promise<void> {
    const { kept, redone } = generation;
    const originJobId = prior.lineage.originJobId || prior.jobId;
    const lineage: Lineage = {
      generation: await nextGeneration(client, originJobId),
      originJobId,
      replayOf: prior.jobId,
      replayFrom: order.fromKey ?? "",
    };
    const blocked = tasks.filter((task) => task.pending > 0).length;
    const total = kept.length + redone.length;
    const submission = toSubmission(order, prior, tasks);
    const progress = newJobProgress({ total, blocked });
    await insertJobs(client, [{ jobId, submission, progress }]);
    // A planner that runs again will say anew what its plan does.
    const planSummary = kept.length === 0 && submission.planning ? "" : prior.planSummary;
    await markGeneration(client, jobId, lineage, { tasks: kept.length, planSummary });
    const keeps = kept.map((task) => ({ prior: task, taskId: this.#newTaskId(jobId) }));
    await keepTasks(client, jobId, keeps);
    await insertTasks(client, tasks);
    const again = redone.map((task, index) => ({
      prior: task,
      taskId: tasks[index]?.taskId as string,
    }));
    await copyInputs(client, again);
    await copyItems(client, itemCopies([...keeps, ...again]));
    await inheritPayloads(client, [jobId]);
  }

  #apply({ job, tasks, effects, events }: Made, { traceparent }: ReplayOrder): void {
    this.#parts.backlog.addBlocked(job.namespace, job.counts.blocked);
    publish(this.#parts, events);
    const ready = readyTasks(tasks, job.createdAt.getTime(), traceparent);
    const cancelled = new Set(effects.cancelled.map((change) => change.taskId));
    const freed = [...ready, ...effects.unblocked].filter((task) => !cancelled.has(task.taskId));
    this.#deps.onReady(freed.map((task) => ({ task, delayMs: 0 })));
    this.#parts.events.submitted(1, tasks.length);
  }
}

interface NewGeneration {
  readonly order: ReplayOrder;
  readonly prior: JobView;
  readonly jobId: string;
  readonly generation: Generation;
  readonly tasks: readonly NewTask[];
}

/** Names the job that was made in the entry of the call; an empty name takes it back. */
function noteMade({ leaf }: ReplayOrder, jobId: string): void {
  leaf?.note({ fields: { new_job_id: jobId } });
}

function assertMayReplay({ state }: JobView, fromKey: string | undefined): void {
  if (!isTerminalJobState(state)) {
    throw new NexusError({
      kind: "precondition",
      reason: "JOB_NOT_ENDED",
      message: `The job is ${state}; only one that has ended can run again.`,
    });
  }
  if (state === "COMPLETED" && fromKey === undefined) {
    throw new NexusError({
      kind: "precondition",
      reason: "NOTHING_TO_RETRY",
      message: "Every task of the job succeeded; replay it from a task instead.",
    });
  }
}

async function planGeneration(
  client: Queryable,
  { jobId, fromKey }: ReplayOrder,
): Promise<Generation> {
  const tasks = await readPriorTasks(client, jobId);
  if (fromKey === undefined) return planRetry(tasks);
  if (tasks.some((task) => task.spec.key === fromKey)) return planReplay(tasks, fromKey);
  throw new NexusError({
    kind: "not_found",
    reason: "TASK_NOT_FOUND",
    message: `The job has no task "${fromKey}".`,
  });
}

/** Ties the tasks of elements to the mapped task of the new generation. */
function itemCopies(tasks: readonly { readonly prior: PriorTask; readonly taskId: string }[]) {
  const idByKey = new Map(tasks.map(({ prior, taskId }) => [prior.spec.key, taskId]));
  return tasks.flatMap(({ prior, taskId }) => {
    const { mapItem } = prior.spec;
    if (mapItem === undefined) return [];
    return { priorId: prior.taskId, taskId, parentId: idByKey.get(mapItem.of) as string };
  });
}

/** The old job submitted anew, by whoever asks now. */
function toSubmission(
  order: ReplayOrder,
  prior: JobView,
  tasks: readonly NewTask[],
): JobSubmission {
  const { namespace, principalId, requestId, bodyHash, traceparent } = order;
  return {
    namespace,
    principalId,
    requestId,
    bodyHash,
    objective: prior.objective,
    priority: prior.priority,
    labels: prior.labels,
    tasks: tasks.map(({ spec }) => ({ ...spec, input: undefined })),
    planning: tasks.some((task) => task.planning),
    traceparent,
  };
}
