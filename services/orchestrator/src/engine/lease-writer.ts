/** Commits what happens to leases: claims, beginnings and ends, those of one moment in one transaction. */
import { type Queryable, type Transaction, together } from "@nexus/postgres";
import { BatchQueue, backoffDelayMs, NexusError, sleep } from "@nexus/shared";
import { JobDeltas } from "../domain/job-deltas.ts";
import { acceptTasks } from "../store/accept-store.ts";
import { claimTasks, type Granted } from "../store/claim-store.ts";
import { applyEffects, type Effects, type MovedTask } from "../store/effects-store.ts";
import { holdJobs } from "../store/job-progress-store.ts";
import { setPlan } from "../store/plan-store.ts";
import { type Settled, settleLeases } from "../store/settle-store.ts";
import { insertTasks } from "../store/task-insert.ts";
import { freedTasks } from "./freed-tasks.ts";
import {
  blockedOf,
  type ClaimOrder,
  chunksByBytes,
  claimOf,
  type EndedLease,
  fail,
  isClaim,
  isUnwritten,
  isWord,
  jobEventOf,
  jobsOf,
  type LeaseBatch,
  type LeaseOrder,
  type LeaseWord,
  movedByAccept,
  movedByClaim,
  movedByEnd,
  toLeaseEnds,
  type WordOutcome,
} from "./lease-orders.ts";
import type { OutcomeLog } from "./outcome-log.ts";
import type { EngineParts } from "./parts.ts";
import { type Withheld, withholdPaused } from "./pauser.ts";
import { CLAIMS_IN_FLIGHT_MAX } from "./scheduler.ts";
import { growthOf } from "./task-ids.ts";

/** Pauses while the database is there and cannot store anything: its disk is full, say. */
const RETRY = { initialMs: 50, multiplier: 2, maxMs: 1_000, jitter: 0.2 };
/** Of a batch that is written apart, so many words may run out of time before the others are not tried any more: it is not them. */
const TIMEOUTS_MAX = 3;

const NOTHING_GRANTED: Granted = [];
const NOTHING_ENDED: Pick<WrittenBatch, "ended" | "settled"> = { ended: [], settled: [] };

/** What a transaction did. */
export interface WrittenBatch extends Withheld {
  /** The claims that were in it, each task once. */
  readonly claims: readonly ClaimOrder[];
  /** Of each of them. */
  readonly granted: Granted;
  readonly accepted: ReadonlySet<string>;
  /** The ends that were in it, and what became of each. */
  readonly ended: readonly EndedLease[];
  readonly settled: Settled;
  readonly effects: Effects;
}

/** Hears which claims were committed, and that orders are no longer under way. */
export interface ClaimSide {
  apply(claims: readonly ClaimOrder[], granted: Granted, startedAtMs: number): void;
  /** Of the failed ones nothing was stored. */
  done(claims: readonly ClaimOrder[], failed: readonly ClaimOrder[]): void;
}

/** Knows what words are about, hears what they did, and what to answer. */
export interface WordSide {
  resolve(words: readonly LeaseWord[]): Pick<LeaseBatch, "ended" | "accepts">;
  apply(written: WrittenBatch): void;
  /** Notes on each word its outcome. Errors: those of the database; words without an outcome then have to be asked about again. */
  answer(
    words: readonly LeaseWord[],
    ended: readonly EndedLease[],
    settled: Settled,
  ): Promise<void>;
}

/** What the writer needs beside the shared parts. The two are asked for at each use: they need the writer themselves. */
export interface LeaseWriterDeps {
  readonly parts: EngineParts;
  readonly outcomes: OutcomeLog;
  readonly claimer: () => ClaimSide;
  readonly settler: () => WordSide;
}

/** Owns the orders that wait for their commit. */
export class LeaseWriter {
  readonly #parts: EngineParts;
  readonly #deps: LeaseWriterDeps;
  readonly #queue: BatchQueue<LeaseOrder>;

  constructor(deps: LeaseWriterDeps) {
    this.#deps = deps;
    this.#parts = deps.parts;
    const { flushItemsMax, flushDelayMs, updatesQueuedMax } = deps.parts.limits;
    this.#queue = new BatchQueue<LeaseOrder>({
      name: "lease",
      maxItems: 2 * flushItemsMax,
      maxDelayMs: flushDelayMs,
      maxQueued: CLAIMS_IN_FLIGHT_MAX + Math.max(updatesQueuedMax, 2 * flushItemsMax),
      flush: (orders) => this.#flush(orders),
    });
  }

  /** Takes an order in. A claim is tried once, and the claimer hears of it. A word survives a restart of Postgres: it waits and is tried again,
   * which its fence makes safe; whoever gave it hears what became of it once it is committed, or unavailable/NOT_OWNER when another
   * process owns now.
   *
   * Errors: exhausted/QUEUE_FULL; unavailable/CLOSED. */
  put(order: LeaseOrder): void {
    this.#queue.push(order);
  }

  close(): Promise<void> {
    return this.#queue.close();
  }

  async #flush(orders: readonly LeaseOrder[]): Promise<void> {
    const claims = orders.filter(isClaim);
    const words = orders.filter(isWord);
    try {
      await this.#writeAll(claims, words);
    } catch (error) {
      fail(
        orders.filter(({ outcome }) => outcome === undefined),
        error,
      );
    }
    const failed = claims.filter(isUnwritten);
    if (claims.length > 0) this.#deps.claimer().done(claims, failed);
    for (const word of words) this.#tell(word);
  }

  #tell(word: LeaseWord): void {
    try {
      word.hear((word.outcome ?? "STALE") as WordOutcome | Error);
    } catch (error) {
      this.#parts.logger.error({ err: error, task_id: word.taskId }, "an answer was not heard");
    }
  }

  async #writeAll(claims: readonly ClaimOrder[], words: readonly LeaseWord[]): Promise<void> {
    const chunks = [...chunksByBytes(words)];
    const last = chunks.pop() ?? [];
    // A claim may be for the slot of a lease that one of the words ends: it is never stored before that.
    for (const chunk of chunks) await this.#writeWords(chunk);
    await this.#writeBoth(claims, last);
  }

  /** Both in one transaction, where there are both; what cannot be written together is written apart. */
  async #writeBoth(claims: readonly ClaimOrder[], words: readonly LeaseWord[]): Promise<void> {
    if (claims.length === 0 || words.length === 0) {
      await this.#writeClaims(claims);
      await this.#writeWords(words);
      return;
    }
    try {
      await this.#write(claims, words);
    } catch (error) {
      await this.#writeWords(words);
      // The choices are made again: at once after a loss of the connection, as memory is read anew, else a little later.
      if (isPassing(error)) fail(claims, error);
      else await this.#writeClaims(claims);
    }
  }

  /** Claims that the database refuses are split, so that a bad one spoils only itself. */
  async #writeClaims(claims: readonly ClaimOrder[]): Promise<void> {
    if (claims.length === 0) return;
    try {
      await this.#write(claims, []);
    } catch (error) {
      if (claims.length === 1 || isPassing(error)) fail(claims, error);
      else for (const claim of claims) await this.#writeClaims([claim]);
    }
  }

  /** Repeats until committed. Words that the database refuses are split, so that a bad one spoils only itself. */
  async #writeWords(words: readonly LeaseWord[]): Promise<void> {
    if (words.length === 0) return;
    const refusal = await this.#writePatiently(words);
    if (refusal === undefined) return;
    const [word] = words;
    if (NexusError.is(refusal, "unavailable")) fail(words, refusal);
    else if (words.length > 1) await this.#writeApart(words, refusal);
    // It is not answered, so that its agent says it again.
    else if (isPassing(refusal)) fail(words, refusal);
    else if (word !== undefined) this.#drop(word, refusal);
  }

  async #writeApart(words: readonly LeaseWord[], refusal: unknown): Promise<void> {
    let timeouts = 0;
    for (const word of words) {
      if (timeouts >= TIMEOUTS_MAX) fail([word], refusal);
      else await this.#writeWords([word]);
      if (NexusError.is(word.outcome, "deadline")) timeouts += 1;
    }
  }

  /** The database refuses this word as it is: the lease stays, and its deadline ends it. */
  #drop(word: LeaseWord, refusal: unknown): void {
    word.outcome = "STALE";
    this.#parts.logger.error(
      { err: refusal, task_id: word.taskId },
      "an update cannot be stored; it is dropped",
    );
  }

  /** Waits for the connection to come back as often as it is lost, and for the database to have room. Returns why it gave up: the database refuses the words as they
   * are, or this replica stops, and agents say again what was not answered. */
  async #writePatiently(words: readonly LeaseWord[]): Promise<unknown> {
    const { ledger } = this.#parts;
    for (let failures = 1; ; failures += 1) {
      try {
        await ledger.untilOwner();
      } catch (error) {
        return error;
      }
      try {
        await this.#write([], words);
        return undefined;
      } catch (error) {
        if (!NexusError.is(error, "unavailable")) return error;
        if (ledger.ownership === "owner") await sleep(backoffDelayMs(failures, RETRY));
      }
    }
  }

  /** One transaction. No claim of it is stored when it throws, and words find out when they are written again. */
  async #write(claims: readonly ClaimOrder[], words: readonly LeaseWord[]): Promise<void> {
    const startedAtMs = this.#parts.nowMs();
    const settler = this.#deps.settler();
    const { ended, accepts } = settler.resolve(words);
    const batch = { claims, ended, accepts };
    let written = NOTHING_ENDED;
    if (claims.length + ended.length + accepts.length > 0) {
      try {
        written = await this.#store(batch, startedAtMs);
      } catch (error) {
        this.#count(claims, words, (kind) => this.#parts.events.flushFailed(kind, error));
        throw error;
      }
    }
    for (const claim of claims) claim.outcome = "WRITTEN";
    try {
      await settler.answer(words, written.ended, written.settled);
    } catch (error) {
      const unsure = words.filter(({ outcome }) => outcome === undefined);
      // The claims beside them are stored, so the words alone are asked about again; or, refused, said again by their agents.
      if (!NexusError.is(error, "unavailable")) fail(unsure, error);
      else if (claims.length > 0) await this.#writeWords(unsure);
      else throw error;
    }
    const seconds = (this.#parts.nowMs() - startedAtMs) / 1_000;
    this.#count(claims, words, (kind, count) => this.#parts.events.flushed(kind, count, seconds));
  }

  /** Memory is trusted about which tasks have no state row. Where it was wrong, as one was cancelled while its claim waited, nothing is
   * stored, and the claims look for themselves. */
  async #store(batch: LeaseBatch, startedAtMs: number): Promise<WrittenBatch> {
    const run = (trusts: boolean) =>
      this.#parts.ledger.run(
        (client) => this.#writeBatch(client, this.#ownPart(batch), trusts),
        (written) => this.#apply(batch.claims, written, startedAtMs),
      );
    try {
      return await run(true);
    } catch (error) {
      if (!NexusError.is(error, "exists")) throw error;
      return run(false);
    }
  }

  #count(
    claims: readonly ClaimOrder[],
    words: readonly LeaseWord[],
    tell: (kind: "claim" | "update", count: number) => void,
  ): void {
    if (claims.length > 0) tell("claim", claims.length);
    if (words.length > 0) tell("update", words.length);
  }

  /** Shards may have been given back while the batch waited for its turn; or memory was read anew, and choices are made again. A task
   * whose job was paused and resumed meanwhile may have been chosen twice: the later choice counts. */
  #ownPart({ claims, ended, accepts }: LeaseBatch): LeaseBatch {
    const { ledger, tallies } = this.#parts;
    const own = new Map<string, ClaimOrder>();
    for (const order of claims) {
      const { taskId } = order.claim.task;
      if (order.generation === tallies.generation && ledger.owns(taskId)) own.set(taskId, order);
    }
    const ownEnds: EndedLease[] = [];
    for (const end of ended) if (ledger.owns(end.order.taskId)) ownEnds.push(end);
    return {
      claims: own.size === claims.length ? claims : [...own.values()],
      ended: ownEnds,
      accepts: accepts.filter(({ lease }) => ledger.owns(lease.task.taskId)),
    };
  }

  async #writeBatch(
    client: Transaction,
    batch: LeaseBatch,
    trusts: boolean,
  ): Promise<WrittenBatch> {
    const { claims, ended, accepts } = batch;
    const nowMs = this.#parts.nowMs();
    const [granted, accepted, settled, jobs] = await together(
      claimTasks(client, claims.map(claimOf), trusts),
      acceptTasks(
        client,
        accepts.map(({ lease, acceptedAtMs }) => ({
          taskId: lease.task.taskId,
          fence: lease.fence,
          agoMs: nowMs - (acceptedAtMs ?? nowMs),
        })),
      ),
      settleLeases(client, toLeaseEnds(ended, nowMs)),
      holdJobs(client, jobsOf(batch)),
    );
    const deltas = new JobDeltas();
    const moved: MovedTask[] = [];
    // By position: an iterator of both makes two objects for each.
    for (let index = 0; index < granted.length; index += 1) {
      const lease = granted[index];
      if (lease === undefined) continue;
      const { claim } = claims[index] as ClaimOrder;
      deltas.event(claim.task.jobId, jobEventOf(claim));
      moved.push(movedByClaim(claim, lease));
    }
    for (const live of accepts) {
      if (accepted.has(live.lease.task.taskId)) moved.push(movedByAccept(live));
    }
    for (let index = 0; index < settled.length; index += 1) {
      if (settled[index] === undefined) continue;
      const end = ended[index] as EndedLease;
      moved.push(movedByEnd(end));
      await insertPlan(client, end, deltas);
    }
    // Tasks of paused jobs that are freed are withheld after all else; without any, the COMMIT leaves with the last statements.
    const mayWithhold = this.#parts.paused.size > 0;
    const supply = {
      ...growthOf(this.#parts),
      jobs,
      alongside: () => this.#deps.outcomes.append(client, ended, settled),
      commits: mayWithhold ? undefined : client,
    };
    const effects = await applyEffects(client, moved, deltas, supply);
    const freed = freedTasks(ended, settled, effects);
    const kept = await withholdPaused(this.#parts, client, ended, freed);
    return { claims, granted, accepted, settled, ended, effects, ...kept };
  }

  /** Claims first: a task that was claimed and then cancelled for a sibling's failure has to be known to be stopped. */
  #apply(claims: readonly ClaimOrder[], written: WrittenBatch, startedAtMs: number): void {
    const claimer = this.#deps.claimer();
    claimer.apply(written.claims, written.granted, startedAtMs);
    if (written.claims.length === claims.length) return this.#deps.settler().apply(written);
    const inIt = new Set(written.claims);
    const leftOut = claims.filter((order) => !inIt.has(order));
    claimer.apply(leftOut, NOTHING_GRANTED, startedAtMs);
    this.#deps.settler().apply(written);
  }
}

/** Says whether a failure is not about what was to be stored: the database could not at that moment, and may another time. */
function isPassing(error: unknown): boolean {
  const kinds = ["unavailable", "deadline", "conflict"] as const;
  return kinds.some((kind) => NexusError.is(error, kind));
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
