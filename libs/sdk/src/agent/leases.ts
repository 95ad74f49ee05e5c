import { PassingMap } from "@nexus/shared";
import type { Lease } from "./lease.ts";

/** Names a lease. */
export interface LeaseName {
  readonly taskId: string;
  readonly fence: bigint;
}

/** The leases in an agent's hands. By task and fence, so that a repeated assignment never runs twice; nearly always a task has one, and a key
 * made of both would cost as much as all else that is remembered of a small task. */
export class Leases {
  readonly #newest = new PassingMap<string, Lease>();
  #size = 0;

  get size(): number {
    return this.#size;
  }

  get({ taskId, fence }: LeaseName): Lease | undefined {
    let lease = this.#newest.get(taskId);
    while (lease !== undefined && lease.assignment.fence !== fence) lease = lease.older;
    return lease;
  }

  has(lease: Lease): boolean {
    return this.get(lease.assignment) === lease;
  }

  /** Adds a lease that is not there yet. */
  add(lease: Lease): void {
    const { taskId } = lease.assignment;
    lease.older = this.#newest.get(taskId);
    this.#newest.set(taskId, lease);
    this.#size += 1;
  }

  /** Takes a lease out; undefined when there is none of that name. */
  take(name: LeaseName): Lease | undefined {
    const lease = this.get(name);
    if (lease === undefined) return undefined;
    this.#size -= 1;
    const newest = this.#newest.get(name.taskId);
    if (newest === lease) this.#putNewest(name.taskId, lease.older);
    else unlink(newest, lease);
    return lease;
  }

  /** Those of this moment. */
  values(): Lease[] {
    const all: Lease[] = [];
    for (const newest of this.#newest.values()) {
      for (let lease: Lease | undefined = newest; lease !== undefined; lease = lease.older) {
        all.push(lease);
      }
    }
    return all;
  }

  #putNewest(taskId: string, lease: Lease | undefined): void {
    if (lease === undefined) this.#newest.delete(taskId);
    else this.#newest.set(taskId, lease);
  }
}

function unlink(newest: Lease | undefined, gone: Lease): void {
  let lease = newest;
  while (lease !== undefined && lease.older !== gone) lease = lease.older;
  if (lease !== undefined) lease.older = gone.older;
}
