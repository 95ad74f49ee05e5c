/** The live leases, by task. What an agent has in hand is derived from here: those that it is not done with. */
import type { LiveLease } from "./agent-entry.ts";

/** Owns the live leases. Entries come and go only after their transaction committed. */
export class LeaseBook {
  readonly #byTask = new Map<string, LiveLease>();
  /** No lease is overdue before, monotonic milliseconds. */
  #quietUntilMs = Number.POSITIVE_INFINITY;

  get size(): number {
    return this.#byTask.size;
  }

  get(taskId: string): LiveLease | undefined {
    return this.#byTask.get(taskId);
  }

  /** Returns the lease only if the fence is the live one. */
  find(taskId: string, fence: bigint): LiveLease | undefined {
    const found = this.#byTask.get(taskId);
    return found?.lease.fence === fence ? found : undefined;
  }

  add(live: LiveLease): void {
    this.#byTask.set(live.lease.task.taskId, live);
    if (live.deadlineAtMs < this.#quietUntilMs) this.#quietUntilMs = live.deadlineAtMs;
    live.agent.addLease(live);
  }

  remove(taskId: string): LiveLease | undefined {
    const live = this.#byTask.get(taskId);
    this.#byTask.delete(taskId);
    live?.agent.removeLease(taskId);
    return live;
  }

  clear(): void {
    for (const [taskId, live] of this.#byTask) live.agent.removeLease(taskId);
    this.#byTask.clear();
    this.#quietUntilMs = Number.POSITIVE_INFINITY;
  }

  /** Leases whose deadline is over by this process's clock, the longest overdue first.
   *
   * Cost: one look at a number, as long as none is; else one at every lease. */
  overdue(nowMs: number, limit: number): LiveLease[] {
    if (nowMs < this.#quietUntilMs) return [];
    const due: LiveLease[] = [];
    let next = Number.POSITIVE_INFINITY;
    for (const live of this.#byTask.values()) {
      if (live.deadlineAtMs <= nowMs) due.push(live);
      else if (live.deadlineAtMs < next) next = live.deadlineAtMs;
    }
    this.#quietUntilMs = due.length > 0 ? nowMs : next;
    return due.sort((a, b) => a.deadlineAtMs - b.deadlineAtMs).slice(0, limit);
  }

  /** How many live leases each of the jobs has that have any. */
  countByJob(): Map<string, number> {
    const counts = new Map<string, number>();
    for (const { lease } of this.#byTask.values()) {
      const { jobId } = lease.task;
      counts.set(jobId, (counts.get(jobId) ?? 0) + 1);
    }
    return counts;
  }

  values(): IterableIterator<LiveLease> {
    return this.#byTask.values();
  }
}
