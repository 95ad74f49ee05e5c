/** The waiting tasks of one class, the next one first. */
import { isWaitingBefore, type WaitingTask } from "../domain/waiting-task.ts";
import { Heap } from "./heap.ts";

/** A heap of runs: tasks that became ready together come in their order by themselves, each with the next one behind it, so of a submission
 * only the first is compared with others. */
export class WaitingLine {
  /** The first of each run. */
  readonly #firsts = new Heap<WaitingTask>(isWaitingBefore);
  /** The end of the run that was added to last. */
  #last: WaitingTask | undefined;
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** The next task, left in place. */
  peek(): WaitingTask | undefined {
    return this.#firsts.peek();
  }

  /** Adds a task that is in no line. Cost: O(log runs), mostly O(1). */
  push(task: WaitingTask): void {
    const last = this.#last;
    if (last !== undefined && last.cohort === task.cohort && last.taskId < task.taskId) {
      last.next = task;
    } else this.#firsts.push(task);
    this.#last = task;
    this.#size += 1;
  }

  /** Takes the next task out. Cost: O(log runs), mostly O(1). */
  pop(): WaitingTask | undefined {
    const first = this.#firsts.peek();
    if (first === undefined) return undefined;
    const { next } = first;
    if (next === undefined) this.#firsts.pop();
    else this.#firsts.replaceFirst(next);
    first.next = undefined;
    if (this.#last === first) this.#last = undefined;
    this.#size -= 1;
    return first;
  }

  /** Keeps only what passes. Cost: O(n log runs). */
  filter(keep: (task: WaitingTask) => boolean): void {
    const all: WaitingTask[] = [];
    for (let task = this.pop(); task !== undefined; task = this.pop()) all.push(task);
    for (const task of all) if (keep(task)) this.push(task);
  }
}
