/** Which agent got the last task of an affinity key. A hint for routing: lost with the process, and never waited for. */
import { type Cache, createLruCache } from "@nexus/shared";
import type { LiveTask } from "../domain/live-task.ts";

/** Keys remembered; the least recently used one is forgotten for a new one. About 12 MiB when full. */
export const AFFINITY_KEYS_MAX = 65_536;

type Keyed = Pick<LiveTask, "namespace" | "spec">;

/** Owns the memory of affinity keys, over all namespaces. */
export class AffinityBook {
  readonly #agents: Cache<string, string>;

  constructor(max = AFFINITY_KEYS_MAX) {
    this.#agents = createLruCache({ max });
  }

  /** The agent that the task prefers; empty when it names no key, or nobody had that one yet. */
  agentOf(task: Keyed): string {
    const key = keyOf(task);
    return key === undefined ? "" : (this.#agents.get(key) ?? "");
  }

  /** An agent gets a task. */
  note(task: Keyed, agentId: string): void {
    const key = keyOf(task);
    if (key !== undefined) this.#agents.set(key, agentId);
  }
}

/** Neither part can hold a NUL. */
function keyOf({ namespace, spec }: Keyed): string | undefined {
  const { affinityKey } = spec;
  return affinityKey === undefined ? undefined : `${namespace}\u0000${affinityKey}`;
}
