/** How much waits, in all and by namespace, and whether there is room for more. */
import { type Cache, createLruCache, MiB, NexusError } from "@nexus/shared";
import { DrainMeter } from "../domain/drain-meter.ts";
import { BLOCKED_TASK_BYTES } from "../domain/waiting-task.ts";
import type { PausedJobs } from "./paused-jobs.ts";
import type { ReadyQueue } from "./ready-queue.ts";

/** The limits of a backlog; see config.ts for what each means. */
export interface BacklogLimits {
  readonly waitingTasksMax: number;
  readonly namespaceWaitingTasksMax: number;
  readonly waitingMemoryMibMax: number;
}

/** What a backlog counts with. */
export interface BacklogOptions {
  readonly queue: ReadyQueue;
  readonly paused: Pick<PausedJobs, "tasks" | "tasksOf">;
  readonly limits: BacklogLimits;
  /** Which part of all jobs this replica owns, 0 to 1: it has that part of what may wait. Whoever takes another's over has room for it. */
  readonly share: () => number;
  readonly random: () => number;
  readonly nowMs: () => number;
}

/** What was let in may grow beyond the limits by a quarter of them: otherwise submissions that keep the backlog full would let no list, and no
 * plan, become its tasks. */
const GROWTH = 1.25;
/** How long a caller waits when nobody knows better, at least, and at most. */
const RETRY_MS = { unknown: 1_000, min: 100, max: 60_000 };
/** Callers that are refused together come back up to this share later, each by chance. */
const RETRY_JITTER = 0.2;
/** Namespaces whose rate is known at once. */
const METERS_MAX = 1_024;
/** The meter of everything; no namespace has this name. */
const ALL = "";

/** A limit that a submission would go over. */
interface Shortage {
  readonly message: string;
  /** Which meter says how fast room is made. */
  readonly meter: string;
  /** Tasks that have to leave first, about. */
  readonly excess: number;
}

/** Owns the counts of tasks that wait for others, and of those on their way into the tables. What waits for an agent
 * the queue counts itself, and what paused jobs withhold they do. */
export class Backlog {
  readonly #options: BacklogOptions;
  readonly #blocked = new Tally();
  readonly #underWay = new Tally();
  readonly #meters: Cache<string, DrainMeter> = createLruCache({ max: METERS_MAX });

  constructor(options: BacklogOptions) {
    this.#options = options;
  }

  /** Tasks that wait for other tasks. */
  get blocked(): number {
    return this.#blocked.total;
  }

  /** Tasks of a namespace wait for others; with a negative change they no longer do. */
  addBlocked(namespace: string, change: number): void {
    this.#blocked.add(namespace, change);
  }

  /** Tasks of several namespaces no longer wait for others. */
  removeBlocked(counts: ReadonlyMap<string, number>): void {
    for (const [namespace, count] of counts) this.#blocked.add(namespace, -count);
  }

  /** Shards are taken, with tasks of several namespaces that wait for others. */
  addAllBlocked(counts: ReadonlyMap<string, number>): void {
    for (const [namespace, count] of counts) this.#blocked.add(namespace, count);
  }

  /** Memory is read anew. */
  clearBlocked(): void {
    this.#blocked.clear();
  }

  /** Takes room for the tasks of a submission until release(), by when they are counted as what they became.
   *
   * Errors: exhausted/QUEUE_FULL, with a time to retry after that follows from how fast the backlog drains. */
  reserve(namespace: string, tasks: number): void {
    this.assertRoom(namespace, tasks);
    this.hold(namespace, tasks);
  }

  /** Refuses tasks for which there is no room, and reserves none. Errors: as reserve(). */
  assertRoom(namespace: string, tasks: number): void {
    const shortage = this.#findShortage(namespace, tasks);
    if (shortage === undefined) return;
    const { message } = shortage;
    const details = { retryAfterMs: this.#retryAfterMs(shortage) };
    throw new NexusError({ kind: "exhausted", reason: "QUEUE_FULL", message, details });
  }

  /** Says why tasks that others become, a mapped one or a plan's, find no room; undefined when they do. */
  findNoRoomToGrow(namespace: string, tasks: number): string | undefined {
    return this.#findShortage(namespace, tasks, GROWTH)?.message;
  }

  /** Takes room until release(), without asking. */
  hold(namespace: string, tasks: number): void {
    this.#underWay.add(namespace, tasks);
  }

  release(namespace: string, tasks: number): void {
    this.#underWay.add(namespace, -tasks);
  }

  #findShortage(namespace: string, tasks: number, factor = 1): Shortage | undefined {
    const { queue, paused, limits } = this.#options;
    const ownMax = this.#shareOf(limits.namespaceWaitingTasksMax * factor);
    const ownPaused = paused.tasksOf(namespace);
    const own =
      queue.sizeOf(namespace) +
      this.#blocked.of(namespace) +
      this.#underWay.of(namespace) +
      ownPaused;
    if (own + tasks > ownMax) {
      const message = `${own} tasks of the namespace wait already at this replica${inPaused(ownPaused)}; at most ${ownMax} may.`;
      return { message, meter: namespace, excess: own + tasks - ownMax };
    }
    const allMax = this.#shareOf(limits.waitingTasksMax * factor);
    const unseen = this.#blocked.total + this.#underWay.total + paused.tasks;
    const all = queue.size + unseen;
    if (all + tasks > allMax) {
      const message = `${all} tasks wait already at this replica${inPaused(paused.tasks)}; at most ${allMax} may.`;
      return { message, meter: ALL, excess: all + tasks - allMax };
    }
    const bytesMax = this.#shareOf(limits.waitingMemoryMibMax * MiB * factor);
    const excessBytes = queue.bytes + (unseen + tasks) * BLOCKED_TASK_BYTES - bytesMax;
    if (excessBytes <= 0) return undefined;
    const message = `The tasks that wait take the ${Math.round(bytesMax / MiB)} MiB that they may at this replica.`;
    return { message, meter: ALL, excess: excessBytes / BLOCKED_TASK_BYTES };
  }

  #shareOf(limit: number): number {
    return Math.max(1, Math.round(limit * this.#options.share()));
  }

  #retryAfterMs({ meter: name, excess }: Shortage): number {
    const { queue, random, nowMs } = this.#options;
    let meter = this.#meters.get(name);
    if (meter === undefined) {
      meter = new DrainMeter();
      this.#meters.set(name, meter);
    }
    const left = name === ALL ? queue.left : queue.leftOf(name);
    const perSecond = meter.look(left, nowMs());
    const untilRoomMs = perSecond === undefined ? RETRY_MS.unknown : (excess / perSecond) * 1_000;
    const later = untilRoomMs * (1 + RETRY_JITTER * random());
    return Math.round(Math.min(RETRY_MS.max, Math.max(RETRY_MS.min, later)));
  }
}

/** Says where the tasks are that will not leave by themselves. */
function inPaused(tasks: number): string {
  return tasks === 0 ? "" : `, ${tasks} of them in paused jobs`;
}

/** Counts by namespace, with their sum. */
class Tally {
  readonly #counts = new Map<string, number>();
  total = 0;

  of(namespace: string): number {
    return this.#counts.get(namespace) ?? 0;
  }

  add(namespace: string, change: number): void {
    const count = this.of(namespace) + change;
    this.total += change;
    if (count === 0) this.#counts.delete(namespace);
    else this.#counts.set(namespace, count);
  }

  clear(): void {
    this.#counts.clear();
    this.total = 0;
  }
}
