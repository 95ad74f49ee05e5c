/** Commits what agents and reapers say about leases: begun, ended, lost; many in one transaction, guarded by fences. */
import { type Queryable, together } from "@nexus/postgres";
import { type Batcher, createBatcher, NexusError } from "@nexus/shared";
import { JobDeltas } from "../domain/job-deltas.ts";
import { type Settlement, settle } from "../domain/settlement.ts";
import { acceptTasks } from "../store/accept-store.ts";
import { applyEffects, type Effects, type MovedTask } from "../store/effects-store.ts";
import { holdJobs } from "../store/job-progress-store.ts";
import { setPlan } from "../store/plan-store.ts";
import { findEndedLeases, settleLeases } from "../store/settle-store.ts";
import { insertTasks } from "../store/task-insert.ts";
import type { LiveLease } from "./agent-entry.ts";
import { type FreedTask, freedTasks, type SettledLeases } from "./freed-tasks.ts";
import {
  type AcceptOrder,
  type AdmittedPlan,
  chunksByBytes,
  type EndedLease,
  type EndOrder,
  type LeaseOrder,
  mayEnd,
  movedByAccept,
  movedByEnd,
  type OrderOutcome,
  toLeaseEnd,
  wordOf,
} from "./lease-orders.ts";
import type { OutcomeLog } from "./outcome-log.ts";
import type { EngineParts } from "./parts.ts";
import { withholdPaused } from "./pauser.ts";
import { publish } from "./publish.ts";
import { dropStoppedTasks } from "./stopped-tasks.ts";
import { taskIdsOf } from "./task-ids.ts";

/** An agent's word that it began waits this long: most short tasks are done by then, and their end says it all. */
const ACCEPT_DELAY_MS = 20;

/** What one transaction did. */
interface Flushed {
  readonly accepted: ReadonlySet<string>;
  readonly settled: SettledLeases;
  readonly ended: readonly EndedLease[];
  readonly effects: Effects;
  readonly freed: readonly FreedTask[];
}

/** What the settler needs beside the shared parts. */
export interface SettlerDeps {
  readonly parts: EngineParts;
  readonly outcomes: OutcomeLog;
  /** A lease is over and its agent has a slot free; without a settlement when somebody else had ended it. */
  readonly onEnded: (live: LiveLease, settlement: Settlement | undefined) => void;
  /** Tasks wait for an agent, again or for the first time. */
  readonly onReady: (tasks: readonly FreedTask[]) => void;
}

/** Owns the end of leases. */
export class Settler {
  readonly #parts: EngineParts;
  readonly #deps: SettlerDeps;
  readonly #batcher: Batcher<LeaseOrder, OrderOutcome>;
  /** Words that agents began, before they are worth a row. */
  readonly #accepts: Batcher<AcceptOrder, OrderOutcome>;

  constructor(deps: SettlerDeps) {
    this.#deps = deps;
    this.#parts = deps.parts;
    this.#batcher = createBatcher({
      name: "update",
      maxItems: deps.parts.limits.flushItemsMax,
      maxDelayMs: deps.parts.limits.flushDelayMs,
      maxQueued: deps.parts.limits.updatesQueuedMax,
      flush: (orders) => this.#flushAll(orders),
    });
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
  end(order: Omit<EndOrder, "kind">): Promise<OrderOutcome> {
    return this.#batcher.add({ kind: "end", ...order });
  }

  /** Notes that an agent began, unless it is done by then. Errors: as end(). */
  accept(taskId: string, fence: bigint): Promise<OrderOutcome> {
    return this.#accepts.add({ kind: "accept", taskId, fence });
  }

  /** Brings into memory what followed from tasks having moved, once it is committed. `freed` wait for an agent now. */
  follow(effects: Effects, freed: readonly FreedTask[]): void {
    this.#parts.backlog.removeBlocked(effects.leftBlocked);
    publish(this.#parts, effects.events);
    dropStoppedTasks(this.#parts, effects.cancelled, "SIBLING_FAILED", (live) =>
      this.#deps.onEnded(live, undefined),
    );
    this.#deps.onReady(freed);
  }

  async close(): Promise<void> {
    await this.#accepts.close();
    await this.#batcher.close();
  }

  #passAccepts(orders: readonly AcceptOrder[]): Promise<OrderOutcome[]> {
    const { book } = this.#parts;
    return Promise.all(
      orders.map((order): Promise<OrderOutcome> => {
        const isOver = book.find(order.taskId, order.fence) === undefined;
        return isOver ? Promise.resolve("STALE") : this.#batcher.add(order);
      }),
    );
  }

  async #flushAll(orders: readonly LeaseOrder[]): Promise<OrderOutcome[]> {
    const outcomes: OrderOutcome[] = [];
    for (const chunk of chunksByBytes(orders)) {
      outcomes.push(...(await this.#flushPatiently(chunk)));
    }
    return outcomes;
  }

  /** Repeats until committed. A batch that the database refuses is split, so that one bad order spoils only itself. */
  async #flushPatiently(orders: readonly LeaseOrder[]): Promise<OrderOutcome[]> {
    for (;;) {
      try {
        await this.#parts.ledger.untilOwner();
        return await this.#flush(orders);
      } catch (error) {
        this.#parts.events.flushFailed("update", error);
        if (NexusError.is(error, "unavailable")) {
          // Waits for the connection to come back; rejects when another process owns by then.
          await this.#parts.ledger.untilOwner();
          continue;
        }
        if (orders.length === 1) throw error;
      }
      const outcomes: OrderOutcome[] = [];
      for (const order of orders) {
        outcomes.push(...(await this.#flushPatiently([order]).catch(() => this.#giveUp(order))));
      }
      return outcomes;
    }
  }

  /** The database refuses this order as it is: the lease stays, and its deadline ends it. */
  #giveUp(order: LeaseOrder): OrderOutcome[] {
    this.#parts.logger.error(
      { task_id: order.taskId },
      "an update cannot be stored; it is dropped",
    );
    return ["STALE"];
  }

  async #flush(orders: readonly LeaseOrder[]): Promise<OrderOutcome[]> {
    const startedAtMs = this.#parts.nowMs();
    const { ledger } = this.#parts;
    const ends = this.#resolveEnds(orders);
    const accepts = this.#resolveAccepts(orders, ends);
    const committed = new Set<LeaseOrder>();
    if (ends.size > 0 || accepts.length > 0) {
      // Shards may have been given back while this waited for its turn.
      const isOurs = ({ lease }: LiveLease) => ledger.owns(lease.task.taskId);
      const { settled } = await ledger.run(
        (client) =>
          this.#write(
            client,
            [...ends.values()].filter(({ live }) => isOurs(live)),
            accepts.filter(isOurs),
          ),
        (flushed) => this.#apply(flushed),
      );
      for (const { order } of ends.values()) if (settled.has(order.taskId)) committed.add(order);
    }
    const outcomes = await this.#answer(orders, committed);
    const seconds = (this.#parts.nowMs() - startedAtMs) / 1_000;
    this.#parts.events.flushed("update", orders.length, seconds);
    return outcomes;
  }

  /** The first order for a live lease counts; what comes after it is answered like a repeat. */
  #resolveEnds(orders: readonly LeaseOrder[]): Map<string, EndedLease> {
    const ends = new Map<string, EndedLease>();
    for (const order of orders) {
      if (order.kind !== "end" || ends.has(order.taskId)) continue;
      const live = this.#parts.book.find(order.taskId, order.fence);
      if (live === undefined || !mayEnd(order.by, live)) continue;
      const { task, attempt } = live.lease;
      const settlement = settle(
        order.ending,
        { attempts: attempt, charged: task.charged, crowded: task.crowded },
        {
          retry: task.spec.retry,
          uncostedAttemptsMax: this.#parts.limits.uncostedAttemptsMax,
          random: this.#parts.routing.random,
        },
      );
      ends.set(order.taskId, { live, order, settlement });
    }
    return ends;
  }

  #resolveAccepts(
    orders: readonly LeaseOrder[],
    ends: ReadonlyMap<string, EndedLease>,
  ): LiveLease[] {
    return orders.flatMap((order) => {
      if (order.kind !== "accept" || ends.has(order.taskId)) return [];
      return this.#parts.book.find(order.taskId, order.fence) ?? [];
    });
  }

  async #write(
    client: Queryable,
    ended: readonly EndedLease[],
    accepts: readonly LiveLease[],
  ): Promise<Flushed> {
    const nowMs = this.#parts.nowMs();
    const [accepted, settled, jobs] = await together(
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
      holdJobs(
        client,
        ended.map(({ live }) => live.lease.task.jobId),
      ),
    );
    const deltas = new JobDeltas();
    const moved: MovedTask[] = accepts
      .filter(({ lease }) => accepted.has(lease.task.taskId))
      .map(movedByAccept);
    for (const end of ended) {
      if (!settled.has(end.order.taskId)) continue;
      moved.push(movedByEnd(end));
      if (end.order.plan !== undefined) await insertPlan(client, end.live, end.order.plan, deltas);
    }
    const alongside = () => this.#deps.outcomes.append(client, ended, settled);
    const supply = { newTaskId: taskIdsOf(this.#parts), jobs, alongside };
    const effects = await applyEffects(client, moved, deltas, supply);
    const freed = await withholdPaused(this.#parts, client, freedTasks(ended, settled, effects));
    return { accepted, settled, ended, effects, freed };
  }

  #apply({ accepted, settled, ended, effects, freed }: Flushed): void {
    for (const taskId of accepted) {
      const live = this.#parts.book.get(taskId);
      if (live !== undefined) live.acceptedAtMs = undefined;
    }
    for (const { live, order } of ended) {
      if (this.#parts.book.get(order.taskId) === live) this.#parts.book.remove(order.taskId);
      if (order.plan !== undefined && settled.has(order.taskId)) {
        this.#parts.backlog.addBlocked(live.lease.task.namespace, blockedOf(order.plan));
      }
    }
    this.follow(effects, freed);
    for (const { live, settlement, order } of ended) {
      this.#deps.onEnded(live, settled.has(order.taskId) ? settlement : undefined);
    }
  }

  /** Answers each order: an end that this flush made, or that an equal word made before, is COMMITTED. */
  async #answer(
    orders: readonly LeaseOrder[],
    committed: ReadonlySet<LeaseOrder>,
  ): Promise<OrderOutcome[]> {
    const unsure = orders.filter(
      (order): order is EndOrder => order.kind === "end" && !committed.has(order),
    );
    const earlier = await findEndedLeases(this.#parts.pool, unsure);
    return orders.map((order) => {
      if (order.kind === "accept" || committed.has(order)) return "COMMITTED";
      const found = earlier.get(`${order.taskId}:${order.fence}`);
      if (found === undefined && !this.#parts.ledger.owns(order.taskId)) return "ELSEWHERE";
      const own = found?.agentId === order.by?.agentId && found?.namespace === order.by?.namespace;
      return own && found?.word === wordOf(order.ending) ? "COMMITTED" : "STALE";
    });
  }
}

async function insertPlan(
  client: Queryable,
  live: LiveLease,
  plan: AdmittedPlan,
  deltas: JobDeltas,
): Promise<void> {
  const { jobId } = live.lease.task;
  await insertTasks(client, plan.tasks);
  await setPlan(client, jobId, plan.summary);
  const blocked = blockedOf(plan);
  deltas.add(jobId, { ready: plan.tasks.length - blocked, blocked });
  deltas.event(jobId, "PLANNED");
}

function blockedOf(plan: AdmittedPlan): number {
  return plan.tasks.filter((task) => task.pending > 0).length;
}
