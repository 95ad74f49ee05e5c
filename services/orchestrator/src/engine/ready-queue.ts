/** The tasks that wait for an agent, in memory: by lane, then by class, then by priority and age. */
import type { LiveSpec, LiveTask } from "../domain/live-task.ts";
import type { RoutingNeed } from "../domain/routing.ts";
import { SHARDS, shardOf } from "../domain/shards.ts";
import { slotCostOf } from "../domain/task.ts";
import {
  PackedBytes,
  TaskPacker,
  unpackTask,
  type WaitClock,
  type WaitingTask,
} from "../domain/waiting-task.ts";
import { Heap } from "./heap.ts";
import { Lane, type LaneIndex, type TaskClass } from "./lane.ts";
import { WaitDeadlines } from "./wait-deadlines.ts";

/** Removed entries that may stay in the heaps of an empty queue. */
const WASTE_MAX = 1_024;

/** How many tasks of a namespace wait, and how many have left since it last had none. */
interface NamespaceCount {
  size: number;
  left: number;
}

/** The best task of a lane. */
export interface Best {
  readonly lane: Lane;
  readonly task: LiveTask;
  readonly group: TaskClass;
}

/** The lane that was named last: a busy owner asks for the same one a dozen times for each task, and a text that is put together is
 * hashed anew each time that it is looked up. */
let named = { namespace: "", capability: "", key: "\u0000" };

/** Names a lane. Neither part can hold a NUL. */
export function laneKey(namespace: string, capability: string): string {
  if (named.capability !== capability || named.namespace !== namespace) {
    named = { namespace, capability, key: `${namespace}\u0000${capability}` };
  }
  return named.key;
}

/** What a task asks of an agent; `affinityAgentId` is who had the last task of its key, or empty. */
export function needOf(task: LiveTask, affinityAgentId = ""): RoutingNeed {
  return {
    rank: task,
    capability: task.spec.capability,
    versionRange: task.spec.versionRange,
    requiredLabels: task.spec.requiredLabels,
    preferredLabels: task.spec.preferredLabels,
    labelConstraints: task.spec.labelConstraints ?? [],
    preferredRegion: task.spec.preferredRegion ?? "",
    slotCost: slotCostOf(task.spec),
    affinityAgentId,
    avoidAgentId: task.avoidAgentId,
    preferAgentId: task.preferAgentId,
  };
}

/** Names what decides who can take a task at all; what only makes one agent better than another stays out. */
export function classKey(spec: LiveSpec): string {
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
  #packer = new TaskPacker();
  readonly #deadlines = new WaitDeadlines((waiting) => this.#holds(waiting));
  #bytes = new PackedBytes();
  readonly #waiting = new Map<string, WaitingTask>();
  readonly #delayedIds = new Map<string, WaitingTask>();
  readonly #delayed = new Heap<WaitingTask>((a, b) => a.cohort.sinceMs < b.cohort.sinceMs);
  /** Namespaces of which tasks wait. */
  readonly #namespaces = new Map<string, NamespaceCount>();
  readonly #inShard = new Int32Array(SHARDS);
  #left = 0;
  readonly #lanes = new Map<string, Lane>();
  readonly #index: LaneIndex = { waiting: this.#waiting, waste: 0 };

  /** Tasks that could go now, and tasks whose delay lasts. */
  get size(): number {
    return this.#waiting.size + this.#delayedIds.size;
  }

  /** Tasks whose delay lasts. */
  get delayedSize(): number {
    return this.#delayedIds.size;
  }

  /** Tasks of one namespace, delayed or not. */
  sizeOf(namespace: string): number {
    return this.#namespaces.get(namespace)?.size ?? 0;
  }

  /** Tasks of one shard, delayed or not. */
  sizeIn(shard: number): number {
    return this.#inShard[shard] ?? 0;
  }

  /** Tasks that have left, ever, and those of one namespace since it last had none. */
  get left(): number {
    return this.#left;
  }

  leftOf(namespace: string): number {
    return this.#namespaces.get(namespace)?.left ?? 0;
  }

  /** About how much memory the waiting tasks take. */
  get bytes(): number {
    return this.#bytes.total;
  }

  /** When the next delay ends; undefined when there is none. */
  get nextDueAtMs(): number | undefined {
    return this.#delayed.peek()?.cohort.sinceMs;
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

  /** A task that could go; undefined when it does not wait. */
  find(taskId: string): LiveTask | undefined {
    const waiting = this.#waiting.get(taskId);
    return waiting === undefined ? undefined : unpackTask(waiting);
  }

  /** Adds a task that may go from `sinceMs` on and returns the key of its lane; one that waits already is replaced. */
  add(task: LiveTask, sinceMs: number): string {
    const waiting = this.#packer.pack(task, sinceMs);
    this.#countIn(waiting);
    return this.#enter(waiting);
  }

  /** Adds a task that may not go before `dueAtMs`, and has to by `startByMs`. */
  addDelayed(task: LiveTask, dueAtMs: number, startByMs?: number): void {
    const waiting = this.#packer.pack(task, dueAtMs, startByMs);
    this.#countIn(waiting);
    this.#delay(waiting);
  }

  /** Adds a task that was packed elsewhere; returns the key of its lane, or undefined when its time has not come. */
  adopt(waiting: WaitingTask, nowMs: number): string | undefined {
    this.#countIn(waiting);
    if (waiting.cohort.sinceMs <= nowMs) return this.#enter(waiting);
    this.#delay(waiting);
    return undefined;
  }

  /** Moves tasks whose delay is over to their lanes; returns the keys of those lanes. */
  releaseDue(nowMs: number): Set<string> {
    const lanes = new Set<string>();
    for (let next = this.#delayed.peek(); next !== undefined; next = this.#delayed.peek()) {
      const gone = this.#delayedIds.get(next.taskId) !== next;
      if (!gone && next.cohort.sinceMs > nowMs) break;
      this.#delayed.pop();
      if (gone) continue;
      this.#delayedIds.delete(next.taskId);
      lanes.add(this.#enter(next));
    }
    return lanes;
  }

  /** Tasks that have waited longer than they may, those overdue for more seconds first. They stay. */
  overdue(nowMs: number, limit: number): string[] {
    return this.#deadlines.overdue(nowMs, limit).map(({ taskId }) => taskId);
  }

  /** Takes a task out, wherever it waits; false when it does not wait. */
  remove(taskId: string): boolean {
    const delayed = this.#delayedIds.get(taskId);
    if (delayed === undefined) return this.take(taskId) !== undefined;
    this.#delayedIds.delete(taskId);
    this.#countOut(delayed);
    return true;
  }

  /** Takes out every task of the jobs that are meant, wherever it waits. */
  removeWhere(isMeant: (jobId: string) => boolean): void {
    for (const waiting of [this.#waiting, this.#delayedIds]) {
      for (const { taskId, cohort } of waiting.values()) {
        if (isMeant(cohort.jobId)) this.remove(taskId);
      }
    }
  }

  /** Takes a task out that could go, and says since when it could and by when it has to; undefined when it does not wait. */
  take(taskId: string): WaitClock | undefined {
    const waiting = this.#waiting.get(taskId);
    if (waiting === undefined) return undefined;
    this.#waiting.delete(taskId);
    this.#countOut(waiting);
    this.#index.waste += 1;
    if (this.#index.waste > this.#waiting.size + WASTE_MAX) this.#sweep();
    return waiting.cohort;
  }

  /** The best task of a lane among its classes that are not set aside, with its class. */
  best(lane: Lane): Best | undefined {
    const best = lane.best();
    if (lane.classes.size === 0) this.#lanes.delete(lane.key);
    return best === undefined
      ? undefined
      : { lane, task: unpackTask(best.head), group: best.group };
  }

  /** Says whether any task of a lane waits, of whatever class. */
  hasWaiting(key: string): boolean {
    return this.#lanes.get(key)?.hasWaiting() ?? false;
  }

  /** Forgets everything. */
  clear(): void {
    this.#waiting.clear();
    this.#delayedIds.clear();
    this.#delayed.filter(() => false);
    this.#deadlines.clear();
    this.#packer = new TaskPacker();
    this.#bytes = new PackedBytes();
    this.#namespaces.clear();
    this.#inShard.fill(0);
    this.#lanes.clear();
    this.#index.waste = 0;
  }

  #enter(waiting: WaitingTask): string {
    const { namespace, spec } = waiting.cohort.kind.traits;
    const key = laneKey(namespace, spec.capability);
    let lane = this.#lanes.get(key);
    if (lane === undefined) {
      lane = new Lane(key, namespace, this.#index);
      this.#lanes.set(key, lane);
    }
    this.#waiting.set(waiting.taskId, waiting);
    lane.add(classKey(spec), waiting);
    return key;
  }

  #delay(waiting: WaitingTask): void {
    this.#delayed.push(waiting);
    this.#delayedIds.set(waiting.taskId, waiting);
  }

  #countIn(waiting: WaitingTask): void {
    this.remove(waiting.taskId);
    this.#bytes.add(waiting);
    this.#deadlines.add(waiting);
    this.#countShard(waiting, 1);
    const { namespace } = waiting.cohort.kind.traits;
    const count = this.#namespaces.get(namespace);
    if (count === undefined) this.#namespaces.set(namespace, { size: 1, left: 0 });
    else count.size += 1;
  }

  #countOut(waiting: WaitingTask): void {
    this.#bytes.remove(waiting);
    this.#left += 1;
    this.#deadlines.left();
    this.#countShard(waiting, -1);
    const { namespace } = waiting.cohort.kind.traits;
    const count = this.#namespaces.get(namespace);
    if (count === undefined) return;
    count.size -= 1;
    count.left += 1;
    if (count.size === 0) this.#namespaces.delete(namespace);
  }

  #countShard({ taskId }: WaitingTask, change: 1 | -1): void {
    const shard = shardOf(taskId);
    this.#inShard[shard] = this.sizeIn(shard) + change;
  }

  /** Says whether an entry of the deadlines still counts. */
  #holds(waiting: WaitingTask): boolean {
    const { taskId } = waiting;
    return this.#waiting.get(taskId) === waiting || this.#delayedIds.get(taskId) === waiting;
  }

  #sweep(): void {
    for (const lane of this.#lanes.values()) {
      lane.sweep();
      if (lane.classes.size === 0) this.#lanes.delete(lane.key);
    }
    this.#delayed.filter((task) => this.#delayedIds.get(task.taskId) === task);
    this.#index.waste = 0;
  }
}
