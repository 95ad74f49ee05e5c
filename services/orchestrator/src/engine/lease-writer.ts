/** Commits what happens to leases: claims, beginnings and ends, those of one moment in one transaction. */
import { type Queryable, type Transaction, together } from "@nexus/postgres";
import { type Batcher, createBatcher, NexusError } from "@nexus/shared";
import { JobDeltas } from "../domain/job-deltas.ts";
import { acceptTasks } from "../store/accept-store.ts";
import { claimTasks, type GrantedLease } from "../store/claim-store.ts";
import { applyEffects, type Effects, type MovedTask } from "../store/effects-store.ts";
import { holdJobs } from "../store/job-progress-store.ts";
import { setPlan } from "../store/plan-store.ts";
import { settleLeases } from "../store/settle-store.ts";
import { insertTasks } from "../store/task-insert.ts";
import type { LiveLease } from "./agent-entry.ts";
import { type FreedTask, freedTasks, type SettledLeases } from "./freed-tasks.ts";
import {
  blockedOf,
  type ClaimOrder,
  chunksByBytes,
  type EndedLease,
  jobEventOf,
  type LeaseOrder,
  type LeaseWord,
  movedByAccept,
  movedByClaim,
  movedByEnd,
  toLeaseEnd,
  type WordOutcome,
} from "./lease-orders.ts";
import type { OutcomeLog } from "./outcome-log.ts";
import type { EngineParts } from "./parts.ts";
import { withholdPaused } from "./pauser.ts";
import { CLAIMS_IN_FLIGHT_MAX } from "./scheduler.ts";
import { taskIdsOf } from "./task-ids.ts";

/** What a transaction is to write. */
export interface LeaseBatch {
  readonly claims: readonly ClaimOrder[];
  readonly ended: readonly EndedLease[];
  readonly accepts: readonly LiveLease[];
}

/** What a transaction did. */
export interface WrittenBatch {
  readonly granted: ReadonlyMap<string, GrantedLease>;
  readonly accepted: ReadonlySet<string>;
  readonly settled: SettledLeases;
  readonly ended: readonly EndedLease[];
  readonly effects: Effects;
  readonly freed: readonly FreedTask[];
}

/** Hears which claims were committed. */
export interface ClaimSide {
  apply(
    claims: readonly ClaimOrder[],
    granted: ReadonlyMap<string, GrantedLease>,
    startedAtMs: number,
  ): void;
}

/** Knows what words are about, hears what they did, and what to answer. */
export interface WordSide {
  resolve(words: readonly LeaseWord[]): Pick<LeaseBatch, "ended" | "accepts">;
  apply(written: WrittenBatch): void;
  answer(
    words: readonly LeaseWord[],
    ended: readonly EndedLease[],
    settled: SettledLeases,
  ): Promise<WordOutcome[]>;
}

/** What the writer needs beside the shared parts. The two are asked for at each use: they need the writer themselves. */
export interface LeaseWriterDeps {
  readonly parts: EngineParts;
  readonly outcomes: OutcomeLog;
  readonly claimer: () => ClaimSide;
  readonly settler: () => WordSide;
}

/** Of a claim it only says whether it was written; whether it was granted, the claimer hears before. An error is thrown to whoever
 * gave the order. */
type Outcome = WordOutcome | "WRITTEN" | Error;
type Outcomes = Map<LeaseOrder, Outcome>;

/** Owns the orders that wait for their commit. */
export class LeaseWriter {
  readonly #parts: EngineParts;
  readonly #deps: LeaseWriterDeps;
  readonly #batcher: Batcher<LeaseOrder, Outcome>;

  constructor(deps: LeaseWriterDeps) {
    this.#deps = deps;
    this.#parts = deps.parts;
    const { flushItemsMax, flushDelayMs, updatesQueuedMax } = deps.parts.limits;
    this.#batcher = createBatcher({
      name: "lease",
      maxItems: 2 * flushItemsMax,
      maxDelayMs: flushDelayMs,
      maxQueued: CLAIMS_IN_FLIGHT_MAX + Math.max(updatesQueuedMax, 2 * flushItemsMax),
      flush: (orders) => this.#flush(orders),
    });
  }

  /** Resolves with true when a claim is committed, with false when nothing of it was stored: it is tried once.
   *
   * Errors: exhausted/QUEUE_FULL; unavailable/NOT_OWNER when another process owns now. */
  async claim(order: ClaimOrder): Promise<boolean> {
    return (await this.#batcher.add(order)) === "WRITTEN";
  }

  /** Resolves with what became of a word once it is committed.
   *
   * Survives a restart of Postgres: the word waits and is tried again, which its fence makes safe.
   * Errors: exhausted/QUEUE_FULL; unavailable/NOT_OWNER when another process owns now. */
  async say(word: LeaseWord): Promise<WordOutcome> {
    const outcome = await this.#batcher.add(word);
    if (outcome instanceof Error) throw outcome;
    return outcome as WordOutcome;
  }

  close(): Promise<void> {
    return this.#batcher.close();
  }

  async #flush(orders: readonly LeaseOrder[]): Promise<Outcome[]> {
    const claims = orders.filter((order): order is ClaimOrder => order.kind === "claim");
    const words = orders.filter((order): order is LeaseWord => order.kind !== "claim");
    const outcomes: Outcomes = new Map();
    const chunks = [...chunksByBytes(words)];
    const last = chunks.pop() ?? [];
    // A claim may be for the slot of a lease that one of the words ends: it is never stored before that.
    for (const chunk of chunks) await this.#writeWords(chunk, outcomes);
    await this.#writeBoth(claims, last, outcomes);
    return orders.map((order) => outcomes.get(order) ?? "STALE");
  }

  /** Both in one transaction, where there are both; what cannot be written together is written apart. */
  async #writeBoth(
    claims: readonly ClaimOrder[],
    words: readonly LeaseWord[],
    outcomes: Outcomes,
  ): Promise<void> {
    if (claims.length === 0 || words.length === 0) {
      await this.#writeClaims(claims, outcomes);
      await this.#writeWords(words, outcomes);
      return;
    }
    try {
      await this.#write(claims, words, outcomes);
    } catch (error) {
      await this.#writeWords(words, outcomes);
      // After a loss of the connection memory is read anew, and the choices are made again.
      if (NexusError.is(error, "unavailable")) fail(claims, error, outcomes);
      else await this.#writeClaims(claims, outcomes);
    }
  }

  /** Claims that the database refuses are split, so that a bad one spoils only itself. */
  async #writeClaims(claims: readonly ClaimOrder[], outcomes: Outcomes): Promise<void> {
    if (claims.length === 0) return;
    try {
      await this.#write(claims, [], outcomes);
    } catch (error) {
      if (claims.length === 1 || NexusError.is(error, "unavailable")) fail(claims, error, outcomes);
      else for (const claim of claims) await this.#writeClaims([claim], outcomes);
    }
  }

  /** Repeats until committed. Words that the database refuses are split, so that a bad one spoils only itself. */
  async #writeWords(words: readonly LeaseWord[], outcomes: Outcomes): Promise<void> {
    if (words.length === 0) return;
    const refusal = await this.#writePatiently(words, outcomes);
    if (refusal === undefined) return;
    const [word] = words;
    if (NexusError.is(refusal, "unavailable")) fail(words, refusal, outcomes);
    else if (words.length > 1) for (const one of words) await this.#writeWords([one], outcomes);
    else if (word !== undefined) this.#drop(word, refusal, outcomes);
  }

  /** The database refuses this word as it is: the lease stays, and its deadline ends it. */
  #drop(word: LeaseWord, refusal: unknown, outcomes: Outcomes): void {
    outcomes.set(word, "STALE");
    this.#parts.logger.error(
      { err: refusal, task_id: word.taskId },
      "an update cannot be stored; it is dropped",
    );
  }

  /** Waits for the connection to come back as often as it is lost. Returns why it gave up: the database refuses the words as they
   * are, or this replica stops, and agents say again what was not answered. */
  async #writePatiently(words: readonly LeaseWord[], outcomes: Outcomes): Promise<unknown> {
    for (;;) {
      try {
        await this.#parts.ledger.untilOwner();
      } catch (error) {
        return error;
      }
      try {
        await this.#write([], words, outcomes);
        return undefined;
      } catch (error) {
        if (!NexusError.is(error, "unavailable")) return error;
      }
    }
  }

  /** One transaction. No claim of it is stored when it throws, and words find out when they are written again. */
  async #write(
    claims: readonly ClaimOrder[],
    words: readonly LeaseWord[],
    outcomes: Outcomes,
  ): Promise<void> {
    const startedAtMs = this.#parts.nowMs();
    const settler = this.#deps.settler();
    const { ended, accepts } = settler.resolve(words);
    const batch = { claims, ended, accepts };
    let settled: SettledLeases = new Map();
    if (claims.length + ended.length + accepts.length > 0) {
      try {
        ({ settled } = await this.#parts.ledger.run(
          (client) => this.#writeBatch(client, this.#ownPart(batch)),
          (written) => this.#apply(claims, written, startedAtMs),
        ));
      } catch (error) {
        this.#count(claims, words, (kind) => this.#parts.events.flushFailed(kind, error));
        throw error;
      }
    }
    for (const claim of claims) outcomes.set(claim, "WRITTEN");
    try {
      const answers = await settler.answer(words, ended, settled);
      for (const [index, word] of words.entries()) outcomes.set(word, answers[index] ?? "STALE");
    } catch (error) {
      // The claims beside them are stored, so the words alone are asked about again; or, refused, said again by their agents.
      if (!NexusError.is(error, "unavailable")) fail(words, error, outcomes);
      else if (claims.length > 0) await this.#writeWords(words, outcomes);
      else throw error;
    }
    const seconds = (this.#parts.nowMs() - startedAtMs) / 1_000;
    this.#count(claims, words, (kind, count) => this.#parts.events.flushed(kind, count, seconds));
  }

  #count(
    claims: readonly ClaimOrder[],
    words: readonly LeaseWord[],
    tell: (kind: "claim" | "update", count: number) => void,
  ): void {
    if (claims.length > 0) tell("claim", claims.length);
    if (words.length > 0) tell("update", words.length);
  }

  /** Shards may have been given back while the batch waited for its turn; or memory was read anew, and choices are made again. */
  #ownPart({ claims, ended, accepts }: LeaseBatch): LeaseBatch {
    const { ledger, tallies } = this.#parts;
    return {
      claims: claims.filter(
        ({ claim, generation }) =>
          generation === tallies.generation && ledger.owns(claim.task.taskId),
      ),
      ended: ended.filter(({ order }) => ledger.owns(order.taskId)),
      accepts: accepts.filter(({ lease }) => ledger.owns(lease.task.taskId)),
    };
  }

  async #writeBatch(client: Transaction, batch: LeaseBatch): Promise<WrittenBatch> {
    const { claims, ended, accepts } = batch;
    const nowMs = this.#parts.nowMs();
    const [granted, accepted, settled, jobs] = await together(
      claimTasks(
        client,
        claims.map(({ claim }) => claim),
      ),
      acceptTasks(
        client,
        accepts.map(({ lease, acceptedAtMs }) => ({
          taskId: lease.task.taskId,
          fence: lease.fence,
          agoMs: nowMs - (acceptedAtMs ?? nowMs),
        })),
      ),
      settleLeases(
        client,
        ended.map((end) => toLeaseEnd(end, nowMs)),
      ),
      holdJobs(client, jobsOf(batch)),
    );
    const deltas = new JobDeltas();
    const moved: MovedTask[] = [];
    for (const { claim } of claims) {
      const lease = granted.get(claim.task.taskId);
      if (lease === undefined) continue;
      deltas.event(claim.task.jobId, jobEventOf(claim));
      moved.push(movedByClaim(claim, lease));
    }
    for (const live of accepts) {
      if (accepted.has(live.lease.task.taskId)) moved.push(movedByAccept(live));
    }
    for (const end of ended) {
      if (!settled.has(end.order.taskId)) continue;
      moved.push(movedByEnd(end));
      await insertPlan(client, end, deltas);
    }
    // Tasks of paused jobs that are freed are withheld after all else; without any, the COMMIT leaves with the last statements.
    const mayWithhold = this.#parts.paused.size > 0;
    const supply = {
      newTaskId: taskIdsOf(this.#parts),
      jobs,
      alongside: () => this.#deps.outcomes.append(client, ended, settled),
      commits: mayWithhold ? undefined : client,
    };
    const effects = await applyEffects(client, moved, deltas, supply);
    const freed = await withholdPaused(this.#parts, client, freedTasks(ended, settled, effects));
    return { granted, accepted, settled, ended, effects, freed };
  }

  /** Claims first: a task that was claimed and then cancelled for a sibling's failure has to be known to be stopped. */
  #apply(claims: readonly ClaimOrder[], written: WrittenBatch, startedAtMs: number): void {
    this.#deps.claimer().apply(claims, written.granted, startedAtMs);
    this.#deps.settler().apply(written);
  }
}

function jobsOf({ claims, ended }: LeaseBatch): string[] {
  return [
    ...claims.map(({ claim }) => claim.task.jobId),
    ...ended.map(({ live }) => live.lease.task.jobId),
  ];
}

function fail(orders: readonly LeaseOrder[], cause: unknown, outcomes: Outcomes): void {
  const error = NexusError.from(cause);
  for (const order of orders) outcomes.set(order, error);
}

/** What a planner's end brings. */
async function insertPlan(
  client: Queryable,
  { live, order }: EndedLease,
  deltas: JobDeltas,
): Promise<void> {
  const { plan } = order;
  if (plan === undefined) return;
  const { jobId } = live.lease.task;
  await insertTasks(client, plan.tasks);
  await setPlan(client, jobId, plan.summary);
  const blocked = blockedOf(plan);
  deltas.add(jobId, { ready: plan.tasks.length - blocked, blocked });
  deltas.event(jobId, "PLANNED");
}
