/** Turns choices into leases, and hands them to the assigner once committed. */

import type { Claim } from "../domain/live-task.ts";
import { SHARDS, shardOf } from "../domain/shards.ts";
import { slotCostOf } from "../domain/task.ts";
import type { WaitClock } from "../domain/waiting-task.ts";
import type { Granted, GrantedLease } from "../store/claim-store.ts";
import type { AgentEntry, LiveLease } from "./agent-entry.ts";
import type { FreedTask } from "./freed-tasks.ts";
import type { ClaimOrder } from "./lease-orders.ts";
import type { ClaimSide, LeaseWriter } from "./lease-writer.ts";
import type { EngineParts } from "./parts.ts";

/** A task whose claim failed for a reason of its own waits this long before it is chosen again. */
const FAILED_CLAIM_DELAY_MS = 1_000;

/** What the claimer needs beside the shared parts. */
export interface ClaimerDeps {
  readonly parts: EngineParts;
  readonly writer: Pick<LeaseWriter, "put">;
  readonly onLeased: (leases: readonly LiveLease[]) => void;
  /** The agent's slots are free again. */
  readonly onReleased: (agent: AgentEntry) => void;
  readonly onCommitted: () => void;
  /** Tasks wait again. */
  readonly onReady: (tasks: readonly FreedTask[]) => void;
}

/** Owns the claims under way. */
export class Claimer implements ClaimSide {
  readonly #parts: EngineParts;
  readonly #deps: ClaimerDeps;
  #inFlight = 0;
  readonly #inFlightIn = new Int32Array(SHARDS);

  constructor(deps: ClaimerDeps) {
    this.#deps = deps;
    this.#parts = deps.parts;
  }

  get inFlight(): number {
    return this.#inFlight;
  }

  /** Choices for tasks of a shard that are under way. */
  inFlightIn(shard: number): number {
    return this.#inFlightIn[shard] ?? 0;
  }

  /** Takes over a choice; failures are dealt with here. */
  claim(claim: Claim, agent: AgentEntry, wait: WaitClock): void {
    const order = this.open(claim, agent, wait);
    try {
      this.#deps.writer.put(order);
    } catch {
      // Later: whoever chooses is in the middle of it.
      setImmediate(() => this.done([order], [order]));
    }
  }

  /** Counts a choice as under way. Whoever opens one applies it and closes it. */
  open(claim: Claim, agent: AgentEntry, wait: WaitClock): ClaimOrder {
    const { generation } = this.#parts.tallies;
    const order: ClaimOrder = {
      kind: "claim",
      ...{ claim, agent, generation, wait, outcome: undefined },
    };
    this.#count(order, 1);
    return order;
  }

  /** Choices are no longer under way. With `release`, nothing of them was stored, and their agents are free again. */
  close(orders: readonly ClaimOrder[], release: boolean): void {
    for (const order of orders) this.#count(order, -1);
    if (release) for (const order of orders) this.#giveBack(order);
    this.#deps.onCommitted();
  }

  /** Brings claims into memory once they are committed. What was not granted is cancelled, expired or another replica's by now. */
  apply(orders: readonly ClaimOrder[], granted: Granted, startedAtMs: number): void {
    const leases: LiveLease[] = [];
    for (let index = 0; index < orders.length; index += 1) {
      const order = orders[index] as ClaimOrder;
      const { claim, agent, generation } = order;
      // Memory that was read anew since has forgotten the claim already.
      const isKnown = generation === this.#parts.tallies.generation;
      if (isKnown) agent.claims -= slotCostOf(claim.task.spec);
      const lease = granted[index];
      if (lease === undefined) {
        if (isKnown) this.#release(claim, agent);
        continue;
      }
      // Paused and resumed while its claim was under way, it waits once more.
      this.#parts.queue.remove(claim.task.taskId);
      const live = this.#toLive(order, lease, startedAtMs);
      this.#parts.book.add(live);
      leases.push(live);
    }
    this.#deps.onLeased(leases);
  }

  #toLive(order: ClaimOrder, lease: GrantedLease, startedAtMs: number): LiveLease {
    const { claim, agent, wait } = order;
    return {
      lease: {
        task: claim.task,
        agentId: claim.agentId,
        agentEpoch: claim.agentEpoch,
        capabilityVersion: claim.capabilityVersion,
        fallbackAgentId: claim.decision.fallbackAgentId,
        running: false,
        ...lease,
      },
      agent,
      accepted: false,
      acceptedAtMs: undefined,
      heardAtMs: this.#parts.nowMs(),
      deadlineAtMs: startedAtMs + claim.task.spec.startToCloseMs,
      progress: 0,
      done: false,
      sent: false,
      readySinceMs: wait.sinceMs,
    };
  }

  /** Orders are no longer under way; what failed is chosen again later. */
  done(orders: readonly ClaimOrder[], failed: readonly ClaimOrder[]): void {
    for (const order of orders) this.#count(order, -1);
    const again = failed.filter((order) => this.#giveBack(order) && this.#waits(order));
    // However often its claims fail, a task waits for an agent no longer than it may.
    const tasks = again.map(({ claim, wait: { startByMs } }): FreedTask => {
      // It may have a state row by now.
      const { isNew: _, ...task } = claim.task;
      return { task, startByMs, delayMs: FAILED_CLAIM_DELAY_MS };
    });
    this.#deps.onReady(tasks);
    this.#deps.onCommitted();
  }

  #count({ claim }: ClaimOrder, change: 1 | -1): void {
    const shard = shardOf(claim.task.taskId);
    this.#inFlight += change;
    this.#inFlightIn[shard] = this.inFlightIn(shard) + change;
  }

  /** Nothing was stored. Returns false after a loss of the connection: memory was read anew, so there is nothing to give back. */
  #giveBack({ claim, agent, generation }: ClaimOrder): boolean {
    if (generation !== this.#parts.tallies.generation) return false;
    agent.claims -= slotCostOf(claim.task.spec);
    this.#release(claim, agent);
    return true;
  }

  /** Says whether a task whose claim failed is this one's to queue: not one that waits again already, as its job was resumed meanwhile,
   * nor one that a pause withholds, nor another replica's. */
  #waits({ claim: { task } }: ClaimOrder): boolean {
    const { ledger, paused, queue } = this.#parts;
    return ledger.owns(task.taskId) && !paused.has(task.jobId) && !queue.has(task.taskId);
  }

  #release({ task }: Claim, agent: AgentEntry): void {
    agent.forgetProbe(task, this.#parts.nowMs());
    this.#deps.onReleased(agent);
  }
}
