/** Tasks that wait, kept small: what many of them have in common is there once. A backlog of a million fits into the
 * memory of one process because of it (`npm run bench -- waiting`). */
import { type Cache, createLruCache } from "@nexus/shared";
import { type LiveSpec, type LiveTask, waitMsOf } from "./live-task.ts";

/** Kinds of tasks whose common part is found again. A task of a kind beyond it works as well, and takes more memory. */
const KINDS_MAX = 4_096;

/** About what they take, measured on Node 20 (`npm run bench -- waiting`): a task, and what it shares with others of its
 * submission. */
const TASK_BYTES = 192;
const COHORT_BYTES = 256;
/** What a task takes once it is ready, when nothing more is known of it than that it exists. */
export const BLOCKED_TASK_BYTES = TASK_BYTES + COHORT_BYTES;
/** A kind is kept as an object and under its name, its own JSON. */
const KIND_BYTES = 512;
const KIND_BYTES_PER_CHAR = 3;

type Traits = Omit<LiveTask, "taskId" | "key" | "jobId" | "traceparent" | "readyAtMs" | "waitMs">;

/** What tasks of one kind have in common, over jobs. */
interface Kind {
  readonly traits: Traits;
  readonly bytes: number;
  /** Cohorts with counted tasks. */
  holders: number;
}

/** The clock of a wait, monotonic milliseconds. */
export interface WaitClock {
  /** Since when the task could go, or from when on it can. */
  readonly sinceMs: number;
  /** Until when it may wait for an agent; the database's clock decides. */
  readonly startByMs: number;
}

/** What tasks have in common that became ready together. */
interface Cohort extends WaitClock {
  readonly kind: Kind;
  readonly jobId: string;
  readonly traceparent: string;
  readonly affinityKey: string | undefined;
  readonly readyAtMs: number;
  readonly waitMs: number | undefined;
  /** Counted tasks. */
  holders: number;
}

/** A task that waits. */
export interface WaitingTask {
  readonly taskId: string;
  readonly key: string;
  readonly cohort: Cohort;
  /** The one behind it in its line. */
  next: WaitingTask | undefined;
}

/** Makes waiting tasks, and remembers what the last ones had in common. */
export class TaskPacker {
  readonly #kinds: Cache<string, Kind> = createLruCache({ max: KINDS_MAX });
  /** The cohort that was made last of each kind: tasks of one submission come one after the other. */
  readonly #last = new WeakMap<Kind, Cohort>();
  #lastKind: Kind | undefined;

  /** Packs a task that can go from `sinceMs` on, and has to by `startByMs`, monotonic milliseconds. */
  pack(task: LiveTask, sinceMs: number, startByMs = sinceMs + waitMsOf(task)): WaitingTask {
    const { key } = task;
    const cohort = this.#cohortOf(task, sinceMs, startByMs);
    return { taskId: flat(task.taskId), key, cohort, next: undefined };
  }

  #cohortOf(task: LiveTask, sinceMs: number, startByMs: number): Cohort {
    const kind = this.#kindOf(task);
    const last = this.#last.get(kind);
    if (last?.startByMs === startByMs && isOf(last, task, sinceMs)) return last;
    const { jobId, traceparent, readyAtMs, waitMs, spec } = task;
    const cohort: Cohort = {
      kind,
      jobId: flat(jobId),
      traceparent,
      affinityKey: spec.affinityKey,
      readyAtMs,
      sinceMs,
      startByMs,
      waitMs,
      holders: 0,
    };
    this.#last.set(kind, cohort);
    return cohort;
  }

  #kindOf(task: LiveTask): Kind {
    const last = this.#lastKind;
    if (last !== undefined && isOfKind(task, last.traits)) return last;
    this.#lastKind = this.#findKind(task);
    return this.#lastKind;
  }

  #findKind(task: LiveTask): Kind {
    const name = nameOf(task);
    const known = this.#kinds.get(name);
    if (known !== undefined) return known;
    const kind: Kind = {
      traits: toTraits(task),
      bytes: KIND_BYTES + KIND_BYTES_PER_CHAR * name.length,
      holders: 0,
    };
    this.#kinds.set(name, kind);
    return kind;
  }
}

/** Every field of a spec that waiting tasks keep. A record, so that a field that is added cannot be left out: it would be
 * lost, and tasks that differ in it taken for equal. isOfKind() has them all, too. */
const KEPT: Readonly<Record<Exclude<keyof LiveSpec, "affinityKey">, true>> = {
  capability: true,
  versionRange: true,
  requiredLabels: true,
  preferredLabels: true,
  labelConstraints: true,
  slotCost: true,
  preferredRegion: true,
  priority: true,
  retry: true,
  startToCloseMs: true,
  scheduleToStartMs: true,
  heartbeatMs: true,
  scheduleToCloseMs: true,
  cancelSiblingsOnFailure: true,
  feedsMap: true,
  isMapItem: true,
};
const KEPT_FIELDS = Object.keys(KEPT) as readonly (keyof typeof KEPT)[];

/** The same of the task itself. */
const PLAIN: Readonly<Record<Exclude<keyof Traits, "spec">, true>> = {
  namespace: true,
  priority: true,
  planning: true,
  sink: true,
  hasUpstream: true,
  isNew: true,
  attempts: true,
  charged: true,
  crowded: true,
  losses: true,
  avoidAgentId: true,
  preferAgentId: true,
};
const PLAIN_TRAITS = Object.keys(PLAIN) as readonly (keyof typeof PLAIN)[];

/** Names a kind by everything that its tasks have in common. */
function nameOf(task: LiveTask): string {
  const parts: unknown[] = PLAIN_TRAITS.map((trait) => task[trait]);
  for (const field of KEPT_FIELDS) parts.push(task.spec[field]);
  return JSON.stringify(parts);
}

/** Says the same as equal names, in less time where most are alike: by name each field is found where it lies, out of a list it is looked
 * for. */
function isOfKind(task: LiveTask, traits: Traits): boolean {
  return (
    task.namespace === traits.namespace &&
    task.priority === traits.priority &&
    task.planning === traits.planning &&
    task.sink === traits.sink &&
    task.hasUpstream === traits.hasUpstream &&
    task.isNew === traits.isNew &&
    task.attempts === traits.attempts &&
    task.charged === traits.charged &&
    task.crowded === traits.crowded &&
    task.losses === traits.losses &&
    task.avoidAgentId === traits.avoidAgentId &&
    task.preferAgentId === traits.preferAgentId &&
    isOfSpec(task.spec, traits.spec)
  );
}

function isOfSpec(one: LiveSpec, other: LiveSpec): boolean {
  return (
    one.capability === other.capability &&
    one.versionRange === other.versionRange &&
    one.slotCost === other.slotCost &&
    one.preferredRegion === other.preferredRegion &&
    one.priority === other.priority &&
    one.startToCloseMs === other.startToCloseMs &&
    one.scheduleToStartMs === other.scheduleToStartMs &&
    one.heartbeatMs === other.heartbeatMs &&
    one.scheduleToCloseMs === other.scheduleToCloseMs &&
    one.cancelSiblingsOnFailure === other.cancelSiblingsOnFailure &&
    one.feedsMap === other.feedsMap &&
    one.isMapItem === other.isMapItem &&
    isSame(one.requiredLabels, other.requiredLabels) &&
    isSame(one.preferredLabels, other.preferredLabels) &&
    isSame(one.labelConstraints, other.labelConstraints) &&
    isSame(one.retry, other.retry)
  );
}

/** Compares values as JSON would write them: deep, and never taking different ones for equal. */
function isSame(one: unknown, other: unknown): boolean {
  if (one === other) return true;
  if (!isRecord(one) || !isRecord(other)) return false;
  let left = 0;
  for (const key in one) {
    if (!isSame(one[key], other[key])) return false;
    left += 1;
  }
  for (const _key in other) left -= 1;
  return left === 0;
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null;
}

function toTraits(task: LiveTask): Traits {
  const spec = Object.fromEntries(
    KEPT_FIELDS.map((field) => [field, task.spec[field]] as const).filter(
      ([, value]) => value !== undefined,
    ),
  ) as unknown as LiveSpec;
  return {
    namespace: task.namespace,
    spec,
    priority: task.priority,
    planning: task.planning,
    sink: task.sink,
    hasUpstream: task.hasUpstream,
    ...(task.isNew === undefined ? {} : { isNew: task.isNew }),
    attempts: task.attempts,
    charged: task.charged,
    ...(task.crowded === undefined ? {} : { crowded: task.crowded }),
    ...(task.losses === undefined ? {} : { losses: task.losses }),
    avoidAgentId: task.avoidAgentId,
    preferAgentId: task.preferAgentId,
  };
}

/** Knows about how much memory tasks take, shared parts once. */
export class PackedBytes {
  total = 0;

  add({ cohort }: WaitingTask): void {
    this.total += TASK_BYTES;
    cohort.holders += 1;
    if (cohort.holders > 1) return;
    this.total += COHORT_BYTES;
    cohort.kind.holders += 1;
    if (cohort.kind.holders === 1) this.total += cohort.kind.bytes;
  }

  remove({ cohort }: WaitingTask): void {
    this.total -= TASK_BYTES;
    cohort.holders -= 1;
    if (cohort.holders > 0) return;
    this.total -= COHORT_BYTES;
    cohort.kind.holders -= 1;
    if (cohort.kind.holders === 0) this.total -= cohort.kind.bytes;
  }
}

/** An id that was put together is kept by V8 as the tree of its parts, several times as large, until it is indexed. */
function flat(id: string): string {
  id.charCodeAt(0);
  return id;
}

function isOf(cohort: Cohort, task: LiveTask, sinceMs: number): boolean {
  return (
    cohort.jobId === task.jobId &&
    cohort.readyAtMs === task.readyAtMs &&
    cohort.sinceMs === sinceMs &&
    cohort.waitMs === task.waitMs &&
    cohort.affinityKey === task.spec.affinityKey &&
    cohort.traceparent === task.traceparent
  );
}

/** The task as everything but the queue knows it. */
export function unpackTask({ taskId, key, cohort }: WaitingTask): LiveTask {
  const { traits } = cohort.kind;
  const { affinityKey } = cohort;
  // Field by field: a spread of this many takes several microseconds, and this runs for every choice.
  const task: { -readonly [K in keyof LiveTask]: LiveTask[K] } = {
    taskId,
    key,
    jobId: cohort.jobId,
    namespace: traits.namespace,
    spec: affinityKey === undefined ? traits.spec : { ...traits.spec, affinityKey },
    priority: traits.priority,
    planning: traits.planning,
    sink: traits.sink,
    hasUpstream: traits.hasUpstream,
    attempts: traits.attempts,
    charged: traits.charged,
    readyAtMs: cohort.readyAtMs,
    avoidAgentId: traits.avoidAgentId,
    preferAgentId: traits.preferAgentId,
    traceparent: cohort.traceparent,
  };
  if (traits.isNew !== undefined) task.isNew = traits.isNew;
  if (traits.crowded !== undefined) task.crowded = traits.crowded;
  if (traits.losses !== undefined) task.losses = traits.losses;
  if (cohort.waitMs !== undefined) task.waitMs = cohort.waitMs;
  return task;
}

/** Higher priority first, then the one that has been ready longest; ids grow with time, so they settle ties. */
export function isWaitingBefore(a: WaitingTask, b: WaitingTask): boolean {
  const { cohort: one } = a;
  const { cohort: other } = b;
  if (one !== other) {
    const mine = one.kind.traits.priority;
    const its = other.kind.traits.priority;
    if (mine !== its) return mine > its;
    if (one.readyAtMs !== other.readyAtMs) return one.readyAtMs < other.readyAtMs;
  }
  return a.taskId < b.taskId;
}
