/** Admits and commits jobs, many in one transaction. */
import { together, withTransaction } from "@nexus/postgres";
import { type Batcher, createBatcher, NexusError } from "@nexus/shared";
import { FIRST_GENERATION } from "../domain/generation.ts";
import type { JobSubmission, JobView } from "../domain/job.ts";
import type { LiveTask } from "../domain/live-task.ts";
import { shardOf, toShard } from "../domain/shards.ts";
import { type NewTask, planTasks, readyTasks } from "../domain/task-plan.ts";
import { readJob } from "../store/job-reader.ts";
import { assertStored } from "../store/payload-store.ts";
import { isRefused } from "../store/refusals.ts";
import { type EarlierRequest, findRequests } from "../store/request-store.ts";
import { assertHolding, type Holding, notOwner } from "../store/writer-session.ts";
import type { Claimer } from "./claimer.ts";
import type { FreedTask } from "./freed-tasks.ts";
import type { ClaimOrder } from "./lease-orders.ts";
import type { EngineParts } from "./parts.ts";
import { mayBeStored, noteOwn } from "./recorded-request.ts";
import { beginWait, type Scheduler } from "./scheduler.ts";
import {
  type Draft,
  firstOfEach,
  type MadeJob,
  type Outcome,
  type Placed,
  usesOfDraft,
  type Written,
  writeSubmissions,
} from "./submission-writer.ts";

/** Most tasks that one transaction inserts, unless a single job has more. */
const FLUSH_TASKS_MAX = 2_000;

const NOTHING_PLACED: Placed = new Map();

/** What was committed, with the choices that are in it. */
interface StoredSubmissions extends Written {
  readonly placed: Placed;
}

/** What the submitter needs beside the shared parts. */
export interface SubmitterDeps {
  readonly parts: EngineParts;
  readonly onReady: (tasks: readonly FreedTask[]) => void;
  /** Chooses agents for tasks that are about to be stored, and says whether it might choose any. */
  readonly scheduler: Pick<Scheduler, "place" | "mayPlace">;
  readonly claimer: Pick<Claimer, "open" | "apply" | "close">;
}

/** Owns the submissions under way. They use pooled connections: they touch only new rows, so they need not wait for
 * the serial transactions, and what they hold keeps another owner of their shards from beginning meanwhile. */
export class Submitter {
  readonly #parts: EngineParts;
  readonly #deps: SubmitterDeps;
  readonly #batcher: Batcher<Draft, Outcome>;
  /** Submissions under way, each with its shard. */
  readonly #writing = new Map<Promise<Outcome>, number>();

  constructor(deps: SubmitterDeps) {
    this.#deps = deps;
    this.#parts = deps.parts;
    this.#batcher = createBatcher({
      name: "submit",
      maxItems: deps.parts.limits.flushItemsMax,
      maxDelayMs: deps.parts.limits.flushDelayMs,
      maxQueued: deps.parts.limits.submitsQueuedMax,
      flush: (drafts) => this.#flushAll(drafts),
    });
  }

  /** Commits a job and returns it; a repeated request returns the job that the first one made.
   *
   * Errors: exhausted/QUEUE_FULL; not_found/PAYLOAD_NOT_FOUND; conflict/REQUEST_ID_REUSED; unavailable/NOT_OWNER when this replica has no shard for it;
   * unavailable when the database is away. */
  async submit(submission: JobSubmission): Promise<JobView> {
    const draft = this.#draft(submission);
    // Asked for each submission by itself: in the transaction that many share, one that cannot be stored spoils all.
    await assertStored(this.#parts.pool, usesOfDraft(draft));
    const { backlog } = this.#parts;
    backlog.reserve(submission.namespace, draft.tasks.length);
    submission.leaf?.note({ resource: draft.jobId });
    try {
      const outcome = await this.#add(draft);
      if (outcome.kind === "made") return viewOf(draft, outcome);
      if (outcome.kind === "refused") throw outcome.error;
      return await this.#findEarlier(submission, outcome.earlier);
    } catch (error) {
      // Of a job that may have been stored all the same, the entry says the name.
      if (!mayBeStored(error)) submission.leaf?.note({ resource: "" });
      throw error;
    } finally {
      backlog.release(submission.namespace, draft.tasks.length);
    }
  }

  close(): Promise<void> {
    return this.#batcher.close();
  }

  /** Resolves when no submission into these shards is under way any more. New ones must have stopped. */
  async untilWritten(shards: readonly number[]): Promise<void> {
    const given = new Set(shards);
    const writing = [...this.#writing].filter(([, shard]) => given.has(shard));
    await Promise.allSettled(writing.map(([outcome]) => outcome));
  }

  async #add(draft: Draft): Promise<Outcome> {
    const outcome = this.#batcher.add(draft);
    this.#writing.set(outcome, shardOf(draft.jobId));
    try {
      return await outcome;
    } finally {
      this.#writing.delete(outcome);
    }
  }

  #draft(submission: JobSubmission): Draft {
    const shard = this.#parts.ledger.pickShard();
    if (shard === undefined) throw notOwner("This replica owns no jobs at the moment; try again.");
    const jobId = toShard(this.#parts.ids.next("job"), shard);
    const { namespace, priority, planning } = submission;
    const home = { jobId, namespace, priority, firstOrdinal: 0, planning };
    const nextTaskId = () => toShard(this.#parts.ids.next("task"), shard);
    const tasks = planTasks(submission.tasks, home, nextTaskId);
    return { jobId, submission, tasks };
  }

  async #findEarlier(submission: JobSubmission, earlier: EarlierRequest): Promise<JobView> {
    noteOwn(earlier, submission.leaf);
    const same =
      earlier.method === "SubmitJob" && Buffer.compare(earlier.bodyHash, submission.bodyHash) === 0;
    const job = same
      ? await readJob(this.#parts.pool, submission.namespace, earlier.jobId)
      : undefined;
    if (job !== undefined) {
      submission.leaf?.note({ resource: job.jobId });
      return job;
    }
    throw new NexusError({
      kind: "conflict",
      reason: "REQUEST_ID_REUSED",
      message: "The request id was used before with another body.",
    });
  }

  async #flushAll(drafts: readonly Draft[]): Promise<Outcome[]> {
    const outcomes: Outcome[] = [];
    for (const chunk of chunksByTasks(drafts)) outcomes.push(...(await this.#flushOrSplit(chunk)));
    return outcomes;
  }

  /** A batch that the database refuses is split, so that one bad job spoils only itself. */
  async #flushOrSplit(drafts: readonly Draft[]): Promise<readonly Outcome[]> {
    try {
      return await this.#flush(drafts);
    } catch (error) {
      if (drafts.length === 1 || NexusError.is(error, "unavailable")) throw error;
    }
    const outcomes: Outcome[] = [];
    for (const draft of drafts) {
      const alone = this.#flush([draft]).catch((error: unknown): readonly Outcome[] => [
        { kind: "refused", error },
      ]);
      outcomes.push(...(await alone));
    }
    return outcomes;
  }

  async #flush(drafts: readonly Draft[]): Promise<readonly Outcome[]> {
    const startedAtMs = this.#parts.nowMs();
    const holding = this.#parts.ledger.holdingOf(
      new Set(drafts.map(({ jobId }) => shardOf(jobId))),
    );
    const placed = this.#place(drafts);
    let written: StoredSubmissions;
    try {
      written = await this.#write(drafts, holding, placed);
    } catch (error) {
      this.#parts.events.flushFailed("submit", error);
      // It may have been stored all the same: then its tasks are in the tables and must come into memory.
      if (mayBeStored(error)) this.#parts.ledger.reload();
      throw error;
    }
    for (const [index, { submission }] of drafts.entries()) {
      if (written.outcomes[index]?.kind === "made") submission.leaf?.stored();
    }
    // Where the holding is over, whoever has taken the shards since has read the tasks from the tables.
    const isCurrent = this.#parts.ledger.isCurrent(holding);
    if (isCurrent) this.#apply(drafts, written, startedAtMs);
    this.#deps.claimer.close([...written.placed.values()], !isCurrent);
    const seconds = (this.#parts.nowMs() - startedAtMs) / 1_000;
    this.#parts.events.flushed("submit", drafts.length, seconds);
    return written.outcomes;
  }

  /** Tasks that could begin at once are stored with their leases: they are neither queued nor claimed by a transaction of their own. */
  #place(drafts: readonly Draft[]): Placed {
    const nowMs = this.#parts.nowMs();
    const { scheduler } = this.#deps;
    const ready: LiveTask[] = [];
    for (const { submission, tasks } of firstOfEach(drafts).values()) {
      const mayGo: NewTask[] = [];
      for (const task of tasks) {
        if (scheduler.mayPlace(task.namespace, task.spec.capability)) mayGo.push(task);
      }
      ready.push(...readyTasks(mayGo, 0, submission.traceparent));
    }
    if (ready.length === 0) return NOTHING_PLACED;
    const placements = scheduler.place(ready);
    return new Map(
      placements.map(({ claim, agent }) => [
        claim.task.taskId,
        this.#deps.claimer.open(claim, agent, beginWait(claim.task, nowMs)),
      ]),
    );
  }

  /** Writes as if every request were new, which shares one round trip; when some are repeats, nothing of it is stored, and the new
   * ones are written without them and without leases. A request stays known, so each time there is less to write.
   *
   * Choices that are not in what it returns, or when it throws, are closed. */
  async #write(
    drafts: readonly Draft[],
    holding: Holding,
    wanted: Placed,
  ): Promise<StoredSubmissions> {
    const earlier = new Map<string, EarlierRequest>();
    for (let placed = wanted; ; placed = NOTHING_PLACED) {
      try {
        return await withTransaction(this.#parts.pool, async (client) => {
          // All at once, the COMMIT too: the database refuses what is written without the right to.
          const [, written] = await together(
            assertHolding(client, holding),
            writeSubmissions(client, drafts, earlier, placed),
          );
          return { ...written, placed };
        });
      } catch (error) {
        this.#deps.claimer.close([...placed.values()], true);
        const repeated = isRefused(error, "repeated");
        // A lease that the database refuses spoils no submission: its task waits, and is claimed by itself.
        const mayHelp = placed.size > 0 && !NexusError.is(error, "unavailable");
        if (!(repeated || mayHelp)) throw error;
        if (repeated) await this.#noteRepeats(drafts, earlier);
      }
    }
  }

  async #noteRepeats(drafts: readonly Draft[], earlier: Map<string, EarlierRequest>) {
    const requests = [...firstOfEach(drafts).values()].map(({ submission }) => submission);
    const found = await findRequests(this.#parts.pool, requests);
    for (const [key, request] of found) earlier.set(key, request);
  }

  #apply(
    drafts: readonly Draft[],
    { outcomes, placed, leases }: StoredSubmissions,
    startedAtMs: number,
  ): void {
    let tasks = 0;
    let jobs = 0;
    const orders: ClaimOrder[] = [];
    for (const [index, draft] of drafts.entries()) {
      const outcome = outcomes[index];
      if (outcome?.kind !== "made") continue;
      jobs += 1;
      tasks += draft.tasks.length;
      this.#parts.backlog.addBlocked(draft.submission.namespace, outcome.progress.counts.blocked);
      this.#parts.hub.publish(outcome.events);
      for (const task of draft.tasks) {
        if (task.pending === 0) this.#parts.inputs.add(task.taskId, task.input);
      }
      const ready = readyTasks(
        draft.tasks,
        outcome.createdAt.getTime(),
        draft.submission.traceparent,
      );
      const waiting: FreedTask[] = [];
      for (const task of ready) {
        const order = placed.get(task.taskId);
        if (order === undefined) waiting.push({ task, delayMs: 0 });
        // Only now it is known when it was ready, by the database's clock.
        else orders.push({ ...order, claim: { ...order.claim, task } });
      }
      this.#deps.onReady(waiting);
    }
    if (orders.length > 0) {
      const granted = orders.map(({ claim }) => leases.get(claim.task.taskId));
      this.#deps.claimer.apply(orders, granted, startedAtMs);
    }
    this.#parts.events.submitted(jobs, tasks);
  }
}

function viewOf(
  { jobId, submission }: Draft,
  { createdAt, progress: { state, counts } }: MadeJob,
): JobView {
  return {
    jobId,
    namespace: submission.namespace,
    objective: submission.objective,
    state,
    principalId: submission.principalId,
    priority: submission.priority,
    labels: submission.labels,
    counts,
    failure: undefined,
    planSummary: "",
    lineage: FIRST_GENERATION,
    createdAt,
    startedAt: counts.active > 0 ? createdAt : undefined,
    endedAt: undefined,
  };
}

function* chunksByTasks(drafts: readonly Draft[]): Generator<readonly Draft[]> {
  let chunk: Draft[] = [];
  let tasks = 0;
  for (const draft of drafts) {
    if (chunk.length > 0 && tasks + draft.tasks.length > FLUSH_TASKS_MAX) {
      yield chunk;
      chunk = [];
      tasks = 0;
    }
    chunk.push(draft);
    tasks += draft.tasks.length;
  }
  if (chunk.length > 0) yield chunk;
}
