/** Admits and commits jobs, many in one transaction. */
import { type Queryable, together, withTransaction } from "@nexus/postgres";
import { type Batcher, createBatcher, NexusError } from "@nexus/shared";
import { FIRST_GENERATION } from "../domain/generation.ts";
import type { JobSubmission, JobView } from "../domain/job.ts";
import type { JobEvent } from "../domain/job-event.ts";
import { NO_TASKS } from "../domain/job-state.ts";
import type { LiveTask } from "../domain/live-task.ts";
import { inShardOf, shardOf, toShard } from "../domain/shards.ts";
import { type NewTask, planTasks, readyTasks } from "../domain/task-plan.ts";
import { appendEvents } from "../store/event-store.ts";
import { insertJobs, type NewJob } from "../store/job-insert.ts";
import { readJob } from "../store/job-reader.ts";
import { type EarlierRequest, recordRequests, requestKey } from "../store/request-store.ts";
import { insertTasks } from "../store/task-insert.ts";
import { isHolding, notOwner } from "../store/writer-session.ts";
import type { EngineParts } from "./parts.ts";

/** Most tasks that one transaction inserts, unless a single job has more. */
const FLUSH_TASKS_MAX = 2_000;

interface Draft {
  readonly submission: JobSubmission;
  readonly job: NewJob;
  readonly tasks: readonly NewTask[];
}

/** What became of one submission. */
type Outcome =
  | { readonly kind: "made"; readonly createdAt: Date; readonly event: JobEvent }
  | { readonly kind: "repeat"; readonly earlier: EarlierRequest }
  | { readonly kind: "refused"; readonly error: unknown };

/** What the submitter needs beside the shared parts. */
export interface SubmitterDeps {
  readonly parts: EngineParts;
  readonly onReady: (tasks: readonly { task: LiveTask; delayMs: number }[]) => void;
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
   * Errors: exhausted/QUEUE_FULL; conflict/REQUEST_ID_REUSED; unavailable/NOT_OWNER when this replica has no shard for it;
   * unavailable when the database is away. */
  async submit(submission: JobSubmission): Promise<JobView> {
    const draft = this.#draft(submission);
    const { backlog } = this.#parts;
    backlog.reserve(submission.namespace, draft.tasks.length);
    try {
      const outcome = await this.#add(draft);
      if (outcome.kind === "made") return viewOf(draft, outcome.createdAt);
      if (outcome.kind === "refused") throw outcome.error;
      return await this.#findEarlier(submission, outcome.earlier);
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
    this.#writing.set(outcome, shardOf(draft.job.jobId));
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
    const tasks = planTasks(submission.tasks, home, () =>
      inShardOf(this.#parts.ids.next("task"), jobId),
    );
    const blocked = tasks.filter((task) => task.pending > 0).length;
    return { submission, tasks, job: { jobId, submission, total: tasks.length, blocked } };
  }

  async #findEarlier(submission: JobSubmission, earlier: EarlierRequest): Promise<JobView> {
    const same =
      earlier.method === "SubmitJob" && Buffer.compare(earlier.bodyHash, submission.bodyHash) === 0;
    const job = same
      ? await readJob(this.#parts.pool, submission.namespace, earlier.jobId)
      : undefined;
    if (job !== undefined) return job;
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
  async #flushOrSplit(drafts: readonly Draft[]): Promise<Outcome[]> {
    try {
      return await this.#flush(drafts);
    } catch (error) {
      if (drafts.length === 1 || NexusError.is(error, "unavailable")) throw error;
    }
    const outcomes: Outcome[] = [];
    for (const draft of drafts) {
      const alone = this.#flush([draft]).catch((error: unknown): Outcome[] => [
        { kind: "refused", error },
      ]);
      outcomes.push(...(await alone));
    }
    return outcomes;
  }

  async #flush(drafts: readonly Draft[]): Promise<Outcome[]> {
    const startedAtMs = this.#parts.nowMs();
    const holding = this.#parts.ledger.holdingOf(
      new Set(drafts.map(({ job }) => shardOf(job.jobId))),
    );
    let outcomes: Outcome[];
    try {
      outcomes = await withTransaction(this.#parts.pool, async (client) => {
        // Both at once: what was written without the right to is rolled back.
        const [holds, outcomes] = await together(isHolding(client, holding), write(client, drafts));
        if (!holds) throw notOwner("Another replica owns the shard.");
        return outcomes;
      });
    } catch (error) {
      this.#parts.events.flushFailed("submit", error);
      // It may have been stored all the same: then its tasks are in the tables and must come into memory.
      if (NexusError.is(error, "unavailable", "COMMIT_OUTCOME_UNKNOWN")) {
        this.#parts.ledger.reload();
      }
      throw error;
    }
    // Where the holding is over, whoever has taken the shards since has read the tasks from the tables.
    if (this.#parts.ledger.isCurrent(holding)) this.#apply(drafts, outcomes);
    const seconds = (this.#parts.nowMs() - startedAtMs) / 1_000;
    this.#parts.events.flushed("submit", drafts.length, seconds);
    return outcomes;
  }

  #apply(drafts: readonly Draft[], outcomes: readonly Outcome[]): void {
    let tasks = 0;
    let jobs = 0;
    for (const [index, draft] of drafts.entries()) {
      const outcome = outcomes[index];
      if (outcome?.kind !== "made") continue;
      jobs += 1;
      tasks += draft.tasks.length;
      this.#parts.backlog.addBlocked(draft.submission.namespace, draft.job.blocked);
      this.#parts.hub.publish([outcome.event]);
      const readyAtMs = outcome.createdAt.getTime();
      const ready = readyTasks(draft.tasks, readyAtMs, draft.submission.traceparent);
      this.#deps.onReady(ready.map((task) => ({ task, delayMs: 0 })));
    }
    this.#parts.events.submitted(jobs, tasks);
  }
}

/** Inserts what is new. Of two drafts with one request id in this batch, the second is a repeat of the first. */
async function write(client: Queryable, drafts: readonly Draft[]): Promise<Outcome[]> {
  const first = new Map<string, Draft>();
  for (const draft of drafts) {
    const key = requestKey(draft.submission);
    if (!first.has(key)) first.set(key, draft);
  }
  // In one order everywhere, so that two replicas with the same requests cannot wait for each other.
  const records = [...first].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, draft]) => draft);
  const earlier = await recordRequests(client, records.map(toRecord));
  const fresh = [...first].filter(([key]) => !earlier.has(key)).map(([, draft]) => draft);
  const createdAt = await insertJobs(
    client,
    fresh.map((draft) => draft.job),
  );
  await insertTasks(
    client,
    fresh.flatMap((draft) => draft.tasks),
  );
  const events = await appendEvents(
    client,
    fresh.map(({ job }) => ({
      kind: "job",
      jobId: job.jobId,
      state: "PENDING",
      failure: undefined,
    })),
  );
  const eventOf = new Map(fresh.map((draft, index) => [draft, events[index] as JobEvent]));
  return drafts.map((draft): Outcome => {
    const event = eventOf.get(draft);
    const at = createdAt.get(draft.job.jobId);
    if (event !== undefined && at !== undefined) return { kind: "made", createdAt: at, event };
    const key = requestKey(draft.submission);
    const same = toRecord(first.get(key) as Draft);
    return { kind: "repeat", earlier: earlier.get(key) ?? same };
  });
}

function toRecord({ submission, job }: Draft) {
  const { namespace, principalId, requestId, bodyHash } = submission;
  const method = "SubmitJob" as const;
  return { namespace, principalId, requestId, method, bodyHash, jobId: job.jobId };
}

function viewOf({ submission, job }: Draft, createdAt: Date): JobView {
  const { total, blocked } = job;
  return {
    jobId: job.jobId,
    namespace: submission.namespace,
    objective: submission.objective,
    state: "PENDING",
    principalId: submission.principalId,
    priority: submission.priority,
    labels: submission.labels,
    counts: { ...NO_TASKS, total, blocked, ready: total - blocked },
    failure: undefined,
    planSummary: "",
    lineage: FIRST_GENERATION,
    createdAt,
    startedAt: undefined,
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
