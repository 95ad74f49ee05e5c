/** The tasks that wait for an agent, in memory: by lane, then by class, then by priority and age. */
import type { LiveTask } from "../domain/live-task.ts";
import type { RoutingNeed } from "../domain/routing.ts";
import { slotCostOf } from "../domain/task.ts";
import { Heap } from "./heap.ts";

/** Removed entries that may stay in the heaps of an empty queue. */
const WASTE_MAX = 1_024;

/** Tasks of one class can go to the same agents, so when its first one finds none, none of it does. */
export interface TaskClass {
  readonly heap: Heap<LiveTask>;
  /** Set while a scheduling pass has found nobody for it. */
  parked: boolean;
}

/** Tasks of one namespace that need one capability. */
export interface Lane {
  readonly key: string;
  readonly namespace: string;
  readonly capability: string;
  readonly classes: Map<string, TaskClass>;
}

/** A task whose next attempt must wait. */
interface Delayed {
  readonly task: LiveTask;
  readonly dueAtMs: number;
}

/** A task that could go, and since when. */
interface Waiting {
  readonly task: LiveTask;
  readonly sinceMs: number;
}

/** Names a lane. Neither part can hold a NUL. */
export function laneKey(namespace: string, capability: string): string {
  return `${namespace}\u0000${capability}`;
}

/** What a task asks of an agent; `affinityAgentId` is who had the last task of its key, or empty. */
export function needOf(task: LiveTask, affinityAgentId = ""): RoutingNeed {
  return {
    capability: task.spec.capability,
    versionRange: task.spec.versionRange,
    requiredLabels: task.spec.requiredLabels,
    preferredLabels: task.spec.preferredLabels,
    labelConstraints: task.spec.labelConstraints ?? [],
    slotCost: slotCostOf(task.spec),
    affinityAgentId,
    avoidAgentId: task.avoidAgentId,
    preferAgentId: task.preferAgentId,
  };
}

/** Higher priority first, then the one that has been ready longest; ids grow with time, so they settle ties. */
export function isTaskBefore(a: LiveTask, b: LiveTask): boolean {
  if (a.priority !== b.priority) return a.priority > b.priority;
  if (a.readyAtMs !== b.readyAtMs) return a.readyAtMs < b.readyAtMs;
  return a.taskId < b.taskId;
}

/** Names what decides who can take a task at all; what only makes one agent better than another stays out. */
function classKey({ spec }: LiveTask): string {
  const { versionRange, requiredLabels, labelConstraints = [] } = spec;
  const labels = Object.entries(requiredLabels);
  const demands = labelConstraints.filter(({ weight }) => weight === 0);
  const cost = slotCostOf(spec);
  if (labels.length === 0 && demands.length === 0 && cost === 1) return versionRange;
  labels.sort(([a], [b]) => (a < b ? -1 : 1));
  return `${versionRange}\u0000${JSON.stringify([labels, demands, cost])}`;
}

/** Owns the waiting tasks. Time is passed in, monotonic milliseconds.
 *
 * Removal is lazy: an entry counts only while the task is in the index; what is left in a heap is skipped, and a
 * lane is swept when more than half of what it holds is such waste. */
export class ReadyQueue {
  readonly #waiting = new Map<string, Waiting>();
  readonly #delayedIds = new Map<string, LiveTask>();
  readonly #delayed = new Heap<Delayed>((a, b) => a.dueAtMs < b.dueAtMs);
  readonly #lanes = new Map<string, Lane>();
  #waste = 0;

  /** Tasks that could go now, and tasks whose delay lasts. */
  get size(): number {
    return this.#waiting.size + this.#delayedIds.size;
  }

  /** Tasks whose delay lasts. */
  get delayedSize(): number {
    return this.#delayedIds.size;
  }

  /** When the next delay ends; undefined when there is none. */
  get nextDueAtMs(): number | undefined {
    return this.#delayed.peek()?.dueAtMs;
  }

  lane(key: string): Lane | undefined {
    return this.#lanes.get(key);
  }

  laneKeys(): IterableIterator<string> {
    return this.#lanes.keys();
  }

  /** Says whether a task waits, delayed or not. */
  has(taskId: string): boolean {
    return this.#waiting.has(taskId) || this.#delayedIds.has(taskId);
  }

  /** Adds a task that may go from `sinceMs` on and returns the key of its lane; one that waits already is replaced. */
  add(task: LiveTask, sinceMs: number): string {
    this.remove(task.taskId);
    const key = laneKey(task.namespace, task.spec.capability);
    let lane = this.#lanes.get(key);
    if (lane === undefined) {
      const { namespace, spec } = task;
      lane = { key, namespace, capability: spec.capability, classes: new Map() };
      this.#lanes.set(key, lane);
    }
    const name = classKey(task);
    let group = lane.classes.get(name);
    if (group === undefined) {
      group = { heap: new Heap(isTaskBefore), parked: false };
      lane.classes.set(name, group);
    }
    group.heap.push(task);
    this.#waiting.set(task.taskId, { task, sinceMs });
    return key;
  }

  /** Adds a task that may not go before `dueAtMs`. */
  addDelayed(task: LiveTask, dueAtMs: number): void {
    this.remove(task.taskId);
    this.#delayed.push({ task, dueAtMs });
    this.#delayedIds.set(task.taskId, task);
  }

  /** Moves tasks whose delay is over to their lanes; returns the keys of those lanes. */
  releaseDue(nowMs: number): Set<string> {
    const lanes = new Set<string>();
    for (let next = this.#delayed.peek(); next !== undefined; next = this.#delayed.peek()) {
      const { task, dueAtMs } = next;
      const gone = this.#delayedIds.get(task.taskId) !== task;
      if (!gone && dueAtMs > nowMs) break;
      this.#delayed.pop();
      if (!gone) lanes.add(this.add(task, dueAtMs));
    }
    return lanes;
  }

  /** Takes a task out, wherever it waits; false when it does not wait. */
  remove(taskId: string): boolean {
    return this.#delayedIds.delete(taskId) || this.take(taskId) !== undefined;
  }

  /** Takes out every task that is meant, wherever it waits. */
  removeWhere(isMeant: (task: LiveTask) => boolean): void {
    for (const { task } of this.#waiting.values()) if (isMeant(task)) this.take(task.taskId);
    for (const task of this.#delayedIds.values()) {
      if (isMeant(task)) this.#delayedIds.delete(task.taskId);
    }
  }

  /** Takes a task out that could go, and says since when it could; undefined when it does not wait. */
  take(taskId: string): number | undefined {
    const waiting = this.#waiting.get(taskId);
    if (waiting === undefined) return undefined;
    this.#waiting.delete(taskId);
    this.#waste += 1;
    if (this.#waste > this.#waiting.size + WASTE_MAX) this.#sweep();
    return waiting.sinceMs;
  }

  /** The best task of a lane among its classes that are not parked, with its class. */
  best(lane: Lane): { readonly task: LiveTask; readonly group: TaskClass } | undefined {
    let best: { task: LiveTask; group: TaskClass } | undefined;
    for (const [name, group] of lane.classes) {
      const task = this.#head(group);
      if (task === undefined) lane.classes.delete(name);
      else if (!group.parked && (best === undefined || isTaskBefore(task, best.task))) {
        best = { task, group };
      }
    }
    if (lane.classes.size === 0) this.#lanes.delete(lane.key);
    return best;
  }

  /** Says whether any task of a lane waits, parked or not. */
  hasWaiting(key: string): boolean {
    for (const group of this.#lanes.get(key)?.classes.values() ?? []) {
      if (this.#head(group) !== undefined) return true;
    }
    return false;
  }

  /** Forgets everything. */
  clear(): void {
    this.#waiting.clear();
    this.#delayedIds.clear();
    this.#delayed.filter(() => false);
    this.#lanes.clear();
    this.#waste = 0;
  }

  #head(group: TaskClass): LiveTask | undefined {
    for (let task = group.heap.peek(); task !== undefined; task = group.heap.peek()) {
      if (this.#waiting.get(task.taskId)?.task === task) return task;
      group.heap.pop();
      this.#waste -= 1;
    }
    return undefined;
  }

  #sweep(): void {
    for (const lane of this.#lanes.values()) {
      for (const group of lane.classes.values()) {
        group.heap.filter((task) => this.#waiting.get(task.taskId)?.task === task);
      }
    }
    this.#delayed.filter(({ task }) => this.#delayedIds.get(task.taskId) === task);
    this.#waste = 0;
  }
}
