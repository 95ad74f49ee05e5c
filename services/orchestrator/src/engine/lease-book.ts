/** The live leases, by task. What an agent has in hand, and so its free slots, is derived from here. */
import type { LiveLease } from "./agent-entry.ts";

/** Owns the live leases. Entries come and go only after their transaction committed. */
export class LeaseBook {
  readonly #byTask = new Map<string, LiveLease>();

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
  }

  values(): IterableIterator<LiveLease> {
    return this.#byTask.values();
  }
}
