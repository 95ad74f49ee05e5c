/** By when waiting tasks have to go, to the second: which ones are overdue is found without a look at the others. */
import type { WaitingTask } from "../domain/waiting-task.ts";

const SLOT_MS = 1_000;
/** For each task that leaves, so many entries are looked at: what has left is never more than what is there. */
const LOOKS_PER_LEAVING = 2;

/** Owns an entry for each waiting task, and entries of tasks that have left until it comes upon them. Monotonic milliseconds. */
export class WaitDeadlines {
  readonly #isThere: (waiting: WaitingTask) => boolean;
  readonly #slots = new Map<number, WaitingTask[]>();
  /** The slot that was added to last: tasks of one submission come one after the other. */
  #last: { readonly slot: number; readonly tasks: WaitingTask[] } | undefined;
  /** Nothing is overdue before. */
  #quietUntilMs = Number.POSITIVE_INFINITY;
  #toSweep: Iterator<[number, WaitingTask[]]> = this.#slots.entries();
  #nextSwept: [number, WaitingTask[]] | undefined;
  #looks = 0;

  /** `isThere` says whether an entry still counts. */
  constructor(isThere: (waiting: WaitingTask) => boolean) {
    this.#isThere = isThere;
  }

  add(waiting: WaitingTask): void {
    const { startByMs } = waiting.cohort;
    const slot = Math.floor(startByMs / SLOT_MS);
    if (this.#last?.slot !== slot) this.#last = { slot, tasks: this.#open(slot) };
    this.#last.tasks.push(waiting);
    if (startByMs < this.#quietUntilMs) this.#quietUntilMs = startByMs;
  }

  /** Overdue tasks, those of earlier seconds first. They stay until they leave.
   *
   * Cost: one look at a number, as long as none is; else one at the seconds, and at the tasks of those that are over. */
  overdue(nowMs: number, limit: number): WaitingTask[] {
    if (nowMs < this.#quietUntilMs) return [];
    const due: WaitingTask[] = [];
    let nextMs = Number.POSITIVE_INFINITY;
    for (const slot of [...this.#slots.keys()].sort((a, b) => a - b)) {
      if (due.length >= limit) break;
      const later = slot * SLOT_MS > nowMs ? slot * SLOT_MS : this.#look(slot, nowMs, limit, due);
      if (later < nextMs) nextMs = later;
    }
    this.#quietUntilMs = due.length > 0 ? nowMs : nextMs;
    return due;
  }

  /** A task has left: what is left of those that did is looked for a little further. */
  left(): void {
    this.#looks += LOOKS_PER_LEAVING;
    this.#nextSwept ??= this.#turn();
    if (this.#nextSwept === undefined) return;
    const [slot, tasks] = this.#nextSwept;
    if (this.#looks < tasks.length) return;
    this.#looks = 0;
    this.#nextSwept = undefined;
    let kept = 0;
    for (const waiting of tasks) if (this.#isThere(waiting)) tasks[kept++] = waiting;
    tasks.length = kept;
    this.#closeIfEmpty(slot, tasks);
  }

  clear(): void {
    this.#slots.clear();
    this.#last = undefined;
    this.#nextSwept = undefined;
    this.#quietUntilMs = Number.POSITIVE_INFINITY;
  }

  #open(slot: number): WaitingTask[] {
    const known = this.#slots.get(slot);
    if (known !== undefined) return known;
    const tasks: WaitingTask[] = [];
    this.#slots.set(slot, tasks);
    return tasks;
  }

  #closeIfEmpty(slot: number, tasks: readonly WaitingTask[]): void {
    if (tasks.length > 0) return;
    if (this.#slots.get(slot) === tasks) this.#slots.delete(slot);
    if (this.#last?.tasks === tasks) this.#last = undefined;
  }

  /** Collects what is overdue of a second; returns when the first of its others will be. From the end, so that what has left since the
   * last look is taken off once. */
  #look(slot: number, nowMs: number, limit: number, due: WaitingTask[]): number {
    const tasks = this.#slots.get(slot) ?? [];
    let nextMs = Number.POSITIVE_INFINITY;
    for (let at = tasks.length - 1; at >= 0 && due.length < limit; at -= 1) {
      const waiting = tasks[at] as WaitingTask;
      if (!this.#isThere(waiting)) {
        tasks[at] = tasks.at(-1) as WaitingTask;
        tasks.pop();
      } else if (waiting.cohort.startByMs <= nowMs) due.push(waiting);
      else if (waiting.cohort.startByMs < nextMs) nextMs = waiting.cohort.startByMs;
    }
    this.#closeIfEmpty(slot, tasks);
    return nextMs;
  }

  #turn(): [number, WaitingTask[]] | undefined {
    const next = this.#toSweep.next();
    if (next.done !== true) return next.value;
    this.#toSweep = this.#slots.entries();
    return undefined;
  }
}
