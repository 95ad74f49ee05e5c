/** What agents and reapers say about leases: begun, ended, lost; guarded by fences, and answered once committed. */
import { type Batcher, createBatcher } from "@nexus/shared";
import { type Settlement, settle } from "../domain/settlement.ts";
import type { Effects } from "../store/effects-store.ts";
import { findEndedLeases, type Settled } from "../store/settle-store.ts";
import type { AgentEntry, LiveLease } from "./agent-entry.ts";
import type { FreedTask } from "./freed-tasks.ts";
import {
  type AcceptOrder,
  blockedOf,
  type EndedLease,
  type EndOrder,
  type HearOutcome,
  type LeaseBatch,
  type LeaseWord,
  mayEnd,
  type WordOutcome,
  wordOf,
} from "./lease-orders.ts";
import type { LeaseWriter, WordSide, WrittenBatch } from "./lease-writer.ts";
import type { EngineParts } from "./parts.ts";
import { publish } from "./publish.ts";
import { dropStoppedTasks } from "./stopped-tasks.ts";

/** An agent's word that it began waits this long: most short tasks are done by then, and their end says it all. */
const ACCEPT_DELAY_MS = 20;

/** What the settler needs beside the shared parts. */
export interface SettlerDeps {
  readonly parts: EngineParts;
  readonly writer: Pick<LeaseWriter, "put">;
  /** A lease is over, and takes no slot of its agent; without a settlement when somebody else had ended it. */
  readonly onEnded: (live: LiveLease, settlement: Settlement | undefined) => void;
  /** The agent's slots are counted anew. */
  readonly onReleased: (agent: AgentEntry) => void;
  /** Tasks wait for an agent, again or for the first time. */
  readonly onReady: (tasks: readonly FreedTask[]) => void;
}

/** Owns the end of leases. */
export class Settler implements WordSide {
  readonly #parts: EngineParts;
  readonly #deps: SettlerDeps;
  /** Words that agents began, before they are worth a row. */
  readonly #accepts: Batcher<Beginning, WordOutcome>;

  constructor(deps: SettlerDeps) {
    this.#deps = deps;
    this.#parts = deps.parts;
    this.#accepts = createBatcher({
      name: "accept",
      maxItems: deps.parts.limits.flushItemsMax,
      maxDelayMs: ACCEPT_DELAY_MS,
      maxQueued: deps.parts.limits.updatesQueuedMax,
      flush: (orders) => this.#passAccepts(orders),
    });
  }

  /** Ends a lease; resolves when that is committed, STALE when it was over already and not by the same word.
   *
   * Survives a restart of Postgres: the order waits and is tried again, which its fence makes safe.
   * Errors: exhausted/QUEUE_FULL; unavailable/NOT_OWNER when another process owns now. */
  end(order: Omit<EndOrder, "kind" | "hear" | "outcome">): Promise<WordOutcome> {
    return heard((hear) => this.say({ kind: "end", ...order, hear, outcome: undefined }));
  }

  /** As end(), for whoever says very many: they hear of it without a promise for each.
   *
   * Errors, thrown: exhausted/QUEUE_FULL; unavailable/CLOSED. */
  say(order: EndOrder): void {
    this.#deps.writer.put(order);
  }

  /** Notes that an agent began, unless it is done by then. Errors: as end(). */
  accept(taskId: string, fence: bigint): Promise<WordOutcome> {
    return this.#accepts.add({ taskId, fence });
  }

  /** Passes on what waits. */
  close(): Promise<void> {
    return this.#accepts.close();
  }

  /** Finds the live leases that words are about, and what an end comes to. The first end of a lease counts; what comes after it
   * is answered like a repeat. */
  resolve(words: readonly LeaseWord[]): Pick<LeaseBatch, "ended" | "accepts"> {
    const ends = new Map<string, EndedLease>();
    for (const word of words) {
      if (word.kind !== "end" || ends.has(word.taskId)) continue;
      const live = this.#parts.book.find(word.taskId, word.fence);
      if (live === undefined || !mayEnd(word.by, live)) continue;
      ends.set(word.taskId, { live, order: word, settlement: this.#settle(live, word) });
    }
    const accepts: LiveLease[] = [];
    for (const word of words) {
      if (word.kind !== "accept" || ends.has(word.taskId)) continue;
      const live = this.#parts.book.find(word.taskId, word.fence);
      if (live !== undefined) accepts.push(live);
    }
    return { ended: [...ends.values()], accepts };
  }

  /** Brings beginnings and ends into memory once they are committed. */
  apply({
    accepted,
    settled,
    ended,
    effects,
    freed,
    withheld,
  }: Omit<WrittenBatch, "granted">): void {
    for (const taskId of accepted) {
      const live = this.#parts.book.get(taskId);
      if (live !== undefined) live.acceptedAtMs = undefined;
    }
    for (let index = 0; index < ended.length; index += 1) {
      const { live, order } = ended[index] as EndedLease;
      if (this.#parts.book.get(order.taskId) === live) this.#parts.book.remove(order.taskId);
      if (order.plan !== undefined && settled[index] !== undefined) {
        this.#parts.backlog.addBlocked(live.lease.task.namespace, blockedOf(order.plan));
      }
    }
    for (const [jobId, tasks] of withheld) this.#parts.paused.recount(jobId, tasks);
    this.follow(effects, freed);
    const agents = new Set<AgentEntry>();
    for (let index = 0; index < ended.length; index += 1) {
      const { live, settlement } = ended[index] as EndedLease;
      this.#deps.onEnded(live, settled[index] === undefined ? undefined : settlement);
      agents.add(live.agent);
    }
    for (const agent of agents) this.#deps.onReleased(agent);
    this.#count(ended, settled);
  }

  /** Counts ends, those that follow one another and are alike at once. */
  #count(ended: readonly EndedLease[], settled: Settled): void {
    const { events } = this.#parts;
    let last: Settlement | undefined;
    let alike = 0;
    for (let index = 0; index < ended.length; index += 1) {
      if (settled[index] === undefined) continue;
      const { settlement } = ended[index] as EndedLease;
      if (last?.outcome !== settlement.outcome || last.event !== settlement.event) {
        if (last !== undefined) events.settled(last.outcome, last.event, alike);
        last = settlement;
        alike = 0;
      }
      alike += 1;
    }
    if (last !== undefined) events.settled(last.outcome, last.event, alike);
  }

  /** Brings into memory what followed from tasks having moved, once it is committed. `freed` wait for an agent now. */
  follow(effects: Effects, freed: readonly FreedTask[]): void {
    this.#parts.backlog.removeBlocked(effects.leftBlocked);
    publish(this.#parts, effects.events);
    dropStoppedTasks(this.#parts, effects.cancelled, "SIBLING_FAILED", (live) => {
      this.#deps.onEnded(live, undefined);
      this.#deps.onReleased(live.agent);
    });
    this.#deps.onReady(freed);
  }

  /** Answers words, in their order: an end that was just written, or that an equal word made before, is COMMITTED. */
  async answer(
    words: readonly LeaseWord[],
    ended: readonly EndedLease[],
    settled: Settled,
  ): Promise<void> {
    for (let index = 0; index < settled.length; index += 1) {
      if (settled[index] !== undefined) (ended[index] as EndedLease).order.outcome = "COMMITTED";
    }
    const unsure: EndOrder[] = [];
    for (const word of words) {
      if (word.kind === "accept") word.outcome = "COMMITTED";
      else if (word.outcome === undefined) unsure.push(word);
    }
    const earlier = await findEndedLeases(this.#parts.pool, unsure);
    for (const word of unsure) word.outcome = this.#compare(word, earlier);
  }

  #compare(word: EndOrder, earlier: Awaited<ReturnType<typeof findEndedLeases>>): WordOutcome {
    const found = earlier.get(`${word.taskId}:${word.fence}`);
    if (found === undefined && !this.#parts.ledger.owns(word.taskId)) return "ELSEWHERE";
    const own = found?.agentId === word.by?.agentId && found?.namespace === word.by?.namespace;
    return own && found?.word === wordOf(word.ending) ? "COMMITTED" : "STALE";
  }

  #settle({ lease }: LiveLease, { ending }: EndOrder): Settlement {
    const { task, attempt } = lease;
    return settle(
      ending,
      { attempts: attempt, charged: task.charged, crowded: task.crowded, losses: task.losses },
      {
        retry: task.spec.retry,
        uncostedAttemptsMax: this.#parts.limits.uncostedAttemptsMax,
        random: this.#parts.routing.random,
      },
    );
  }

  #passAccepts(beginnings: readonly Beginning[]): Promise<WordOutcome[]> {
    const { book } = this.#parts;
    return Promise.all(
      beginnings.map(({ taskId, fence }): Promise<WordOutcome> => {
        if (book.find(taskId, fence) === undefined) return Promise.resolve("STALE");
        return heard((hear) =>
          this.#deps.writer.put({ kind: "accept", taskId, fence, hear, outcome: undefined }),
        );
      }),
    );
  }
}

/** What an agent began. */
type Beginning = Pick<AcceptOrder, "taskId" | "fence">;

/** Waits for what is heard. */
function heard(say: (hear: HearOutcome) => void): Promise<WordOutcome> {
  return new Promise((resolve, reject) => {
    say((outcome) => {
      if (outcome instanceof Error) reject(outcome);
      else resolve(outcome);
    });
  });
}
