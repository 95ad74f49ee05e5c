/** Collects what one batch does to its jobs. */
import { addCounts, type JobDelta, type JobEvent, NO_TASKS } from "./job-state.ts";
import type { Failure } from "./task.ts";
import { TASK_BUCKETS, type TaskState } from "./task-state.ts";

/** Adds up the changes of a batch, one delta per job. */
export class JobDeltas {
  readonly #byJob = new Map<string, JobDelta>();

  /** The deltas, by job id, in the order in which the jobs were first met. */
  get all(): ReadonlyMap<string, JobDelta> {
    return this.#byJob;
  }

  /** A task moved from one state to another. Within one bucket (LEASED to RUNNING) nothing of its job changes. */
  move(jobId: string, from: TaskState, to: TaskState): void {
    if (TASK_BUCKETS[from] === TASK_BUCKETS[to]) return;
    const counts = { ...NO_TASKS };
    counts[TASK_BUCKETS[from]] -= 1;
    counts[TASK_BUCKETS[to]] += 1;
    this.#merge(jobId, { counts, failure: undefined, events: [] });
  }

  /** Tasks were added by a plan. */
  add(jobId: string, added: { readonly ready: number; readonly blocked: number }): void {
    const counts = { ...NO_TASKS, ...added, total: added.ready + added.blocked };
    this.#merge(jobId, { counts, failure: undefined, events: [] });
  }

  /** Something happened to the job itself. */
  event(jobId: string, event: JobEvent): void {
    this.#merge(jobId, { counts: NO_TASKS, failure: undefined, events: [event] });
  }

  /** A task of the job failed; the first failure of the batch is kept. */
  fail(jobId: string, failure: Failure): void {
    this.#merge(jobId, { counts: NO_TASKS, failure, events: [] });
  }

  #merge(jobId: string, delta: JobDelta): void {
    const known = this.#byJob.get(jobId);
    if (known === undefined) {
      this.#byJob.set(jobId, delta);
      return;
    }
    this.#byJob.set(jobId, {
      counts: addCounts(known.counts, delta.counts),
      failure: known.failure ?? delta.failure,
      events: delta.events.length === 0 ? known.events : [...known.events, ...delta.events],
    });
  }
}
