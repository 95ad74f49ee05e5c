/** What enters memory with the shards that this replica takes, and leaves it with those that it gives back. */
import type { Queryable } from "@nexus/postgres";
import { shardOf } from "../domain/shards.ts";
import { loadWork, type StoredWork } from "../store/load-store.ts";
import { readPausedJobs } from "../store/pause-store.ts";
import type { AgentEntry, LiveLease } from "./agent-entry.ts";
import type { EngineParts } from "./parts.ts";
import { adopt } from "./queue-keeper.ts";
import type { Scheduler } from "./scheduler.ts";

/** Makes a test for ids of jobs and tasks that lie in one of the shards. */
export function inShards(shards: readonly number[]): (id: string) => boolean {
  const meant = new Set(shards);
  return (id) => meant.has(shardOf(id));
}

/** Owns nothing: moves what waits and runs between the tables and the parts that hold it. */
export class ShardMemory {
  readonly #parts: EngineParts;
  readonly #scheduler: Scheduler;

  constructor(parts: EngineParts, scheduler: Scheduler) {
    this.#parts = parts;
    this.#scheduler = scheduler;
  }

  /** Reads shards; what it returns brings them into memory. */
  async load(client: Queryable, shards: readonly number[]): Promise<() => void> {
    const work = await loadWork(client, shards, this.#parts.nowMs);
    const paused = await readPausedJobs(client, shards);
    return () => {
      for (const job of paused) this.#parts.paused.add(job);
      this.#bring(work);
      this.#parts.events.loaded(shards.length, work.ready.length, work.leases.length);
    };
  }

  /** Forgets everything: what comes next is all there is. */
  reset(): void {
    const { queue, backlog, book, fleet, paused, tallies } = this.#parts;
    tallies.generation += 1;
    backlog.clearBlocked();
    paused.clear();
    queue.clear();
    book.clear();
    for (const agent of fleet.values()) {
      agent.claims = 0;
      agent.forgetProbes();
    }
  }

  /** Forgets shards in which `blocked` tasks, by namespace, wait for others; returns the agents whose slots that frees. */
  forget(shards: readonly number[], blocked: ReadonlyMap<string, number>): Set<AgentEntry> {
    const { queue, backlog, book, paused } = this.#parts;
    const isGone = inShards(shards);
    backlog.removeBlocked(blocked);
    queue.removeWhere(isGone);
    paused.removeWhere(isGone);
    const gone = this.leasesIn(shards);
    for (const { agent, lease } of gone) {
      book.remove(lease.task.taskId);
      // Should it have been a breaker's probe, this replica will not hear how it went.
      agent.forgetProbe(lease.task, this.#parts.nowMs());
    }
    return new Set(gone.map(({ agent }) => agent));
  }

  /** The live leases of shards. */
  leasesIn(shards: readonly number[]): LiveLease[] {
    const isIn = inShards(shards);
    return [...this.#parts.book.values()].filter(({ lease }) => isIn(lease.task.jobId));
  }

  #bring(work: StoredWork): void {
    const { book, backlog, fleet, affinity } = this.#parts;
    backlog.addAllBlocked(work.blocked);
    adopt(this.#parts, this.#scheduler, work.ready);
    const nowMs = this.#parts.nowMs();
    for (const lease of work.leases) {
      const { agentId, task } = lease;
      affinity.note(task, agentId);
      book.add({
        lease,
        agent: fleet.open(task.namespace, agentId),
        accepted: lease.running,
        acceptedAtMs: undefined,
        heardAtMs: nowMs,
        deadlineAtMs: work.readAtMs + lease.leasedAtMs + task.spec.startToCloseMs - work.nowMs,
        progress: 0,
        done: false,
        sent: false,
        readySinceMs: undefined,
      });
    }
  }
}
