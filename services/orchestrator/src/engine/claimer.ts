/** Turns choices into leases, many in one transaction, and hands them to the assigner once committed. */
import { together } from "@nexus/postgres";
import { type Batcher, createBatcher, NexusError } from "@nexus/shared";
import { JobDeltas } from "../domain/job-deltas.ts";
import type { Claim } from "../domain/live-task.ts";
import { slotCostOf } from "../domain/task.ts";
import { claimTasks, type GrantedLease } from "../store/claim-store.ts";
import { applyEffects, type Effects, type MovedTask } from "../store/effects-store.ts";
import { type HeldJobs, holdJobs } from "../store/job-progress-store.ts";
import type { AgentEntry, LiveLease } from "./agent-entry.ts";
import type { EngineParts } from "./parts.ts";
import { publish } from "./publish.ts";
import { CLAIMS_IN_FLIGHT_MAX } from "./scheduler.ts";
import { taskIdsOf } from "./task-ids.ts";

/** A task whose claim failed for a reason of its own waits this long before it is chosen again. */
const FAILED_CLAIM_DELAY_MS = 1_000;

interface Pending {
  readonly claim: Claim;
  readonly agent: AgentEntry;
  readonly generation: number;
  readonly readySinceMs: number;
}

/** What the claimer needs beside the shared parts. */
export interface ClaimerDeps {
  readonly parts: EngineParts;
  readonly onLeased: (leases: readonly LiveLease[]) => void;
  /** The agent's slots are free again. */
  readonly onReleased: (agent: AgentEntry) => void;
  readonly onCommitted: () => void;
  readonly requeue: (claim: Claim, delayMs: number) => void;
}

/** Owns the claims under way. */
export class Claimer {
  readonly #parts: EngineParts;
  readonly #deps: ClaimerDeps;
  readonly #batcher: Batcher<Pending, boolean>;
  #inFlight = 0;

  constructor(deps: ClaimerDeps) {
    this.#deps = deps;
    this.#parts = deps.parts;
    this.#batcher = createBatcher({
      name: "claim",
      maxItems: deps.parts.limits.flushItemsMax,
      maxDelayMs: deps.parts.limits.flushDelayMs,
      maxQueued: CLAIMS_IN_FLIGHT_MAX,
      flush: (batch) => this.#flushOrSplit(batch),
    });
  }

  get inFlight(): number {
    return this.#inFlight;
  }

  /** Takes over a choice; failures are dealt with here. */
  claim(claim: Claim, agent: AgentEntry, readySinceMs: number): void {
    const { generation } = this.#parts.tallies;
    const pending = { claim, agent, generation, readySinceMs };
    this.#inFlight += 1;
    void this.#batcher.add(pending).then(
      (stored) => this.#done(stored ? undefined : pending),
      () => this.#done(pending),
    );
  }

  close(): Promise<void> {
    return this.#batcher.close();
  }

  #done(failed: Pending | undefined): void {
    this.#inFlight -= 1;
    if (failed !== undefined) this.#giveBack(failed);
    this.#deps.onCommitted();
  }

  /** Nothing was stored. After a loss of the connection memory is read anew, so there is nothing to give back. */
  #giveBack({ claim, agent, generation }: Pending): void {
    if (generation !== this.#parts.tallies.generation) return;
    agent.claims -= slotCostOf(claim.task.spec);
    this.#release(claim, agent);
    this.#deps.requeue(claim, FAILED_CLAIM_DELAY_MS);
  }

  #release({ task }: Claim, agent: AgentEntry): void {
    agent.forgetProbe(task.spec.capability, this.#parts.nowMs());
    this.#deps.onReleased(agent);
  }

  /** A batch that the database refuses is split, so that one bad row spoils only its own claim. */
  async #flushOrSplit(batch: readonly Pending[]): Promise<boolean[]> {
    try {
      return await this.#flush(batch);
    } catch (error) {
      if (batch.length === 1 || NexusError.is(error, "unavailable")) throw error;
    }
    const stored: boolean[] = [];
    for (const pending of batch) {
      const alone = this.#flush([pending]).then(
        () => true,
        () => false,
      );
      stored.push(await alone);
    }
    return stored;
  }

  async #flush(batch: readonly Pending[]): Promise<boolean[]> {
    const startedAtMs = this.#parts.nowMs();
    const claims = batch.map(({ claim }) => claim);
    try {
      await this.#parts.ledger.run(
        async (client) => {
          // Shards may have been given back while this waited for its turn.
          const ours = claims.filter(({ task }) => this.#parts.ledger.owns(task.taskId));
          const [granted, jobs] = await together(
            claimTasks(client, ours),
            holdJobs(
              client,
              ours.map(({ task }) => task.jobId),
            ),
          );
          return { granted, effects: await this.#follow(client, ours, { granted, jobs }) };
        },
        ({ granted, effects }) => this.#apply(batch, granted, { effects, startedAtMs }),
      );
    } catch (error) {
      this.#parts.events.flushFailed("claim", error);
      throw error;
    }
    const seconds = (this.#parts.nowMs() - startedAtMs) / 1_000;
    this.#parts.events.flushed("claim", batch.length, seconds);
    return batch.map(() => true);
  }

  #follow(
    client: Parameters<typeof claimTasks>[0],
    claims: readonly Claim[],
    { granted, jobs }: { granted: ReadonlyMap<string, GrantedLease>; jobs: HeldJobs },
  ): Promise<Effects> {
    const deltas = new JobDeltas();
    const moved: MovedTask[] = [];
    for (const { task, agentId } of claims) {
      const lease = granted.get(task.taskId);
      if (lease === undefined) continue;
      deltas.event(task.jobId, task.planning ? "PLANNER_LEASED" : "TASK_LEASED");
      moved.push({
        from: "READY",
        sink: task.sink,
        change: {
          kind: "task",
          jobId: task.jobId,
          taskId: task.taskId,
          taskKey: task.key,
          state: "LEASED",
          attempt: lease.attempt,
          agentId,
          failure: undefined,
        },
      });
    }
    return applyEffects(client, moved, deltas, { newTaskId: taskIdsOf(this.#parts), jobs });
  }

  #apply(
    batch: readonly Pending[],
    granted: ReadonlyMap<string, GrantedLease>,
    { effects, startedAtMs }: { readonly effects: Effects; readonly startedAtMs: number },
  ): void {
    const leases: LiveLease[] = [];
    for (const { claim, agent, generation, readySinceMs } of batch) {
      // Memory that was read anew since has forgotten the claim already.
      if (generation === this.#parts.tallies.generation) {
        agent.claims -= slotCostOf(claim.task.spec);
      }
      const lease = granted.get(claim.task.taskId);
      if (lease === undefined) {
        // Cancelled, expired or given to another replica between the choice and its commit.
        this.#release(claim, agent);
        continue;
      }
      const live: LiveLease = {
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
        sent: false,
        readySinceMs,
      };
      this.#parts.book.add(live);
      leases.push(live);
    }
    publish(this.#parts, effects.events);
    this.#deps.onLeased(leases);
  }
}
