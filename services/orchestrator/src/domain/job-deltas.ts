/** Collects what one batch does to its jobs. */
import { type JobDelta, type JobEvent, NO_TASKS, type TaskCounts } from "./job-state.ts";
import type { Failure } from "./task.ts";
import { TASK_BUCKETS, type TaskState } from "./task-state.ts";

/** A delta in the making: changed in place, as a batch has hundreds of moves and few jobs. */
interface Draft {
  readonly counts: { -readonly [K in keyof TaskCounts]: number };
  failure: Failure | undefined;
  readonly events: JobEvent[];
}

/** Adds up the changes of a batch, one delta per job. */
export class JobDeltas {
  readonly #byJob = new Map<string, Draft>();

  /** The deltas, by job id, in the order in which the jobs were first met. */
  get all(): ReadonlyMap<string, JobDelta> {
    return this.#byJob;
  }

  /** A task moved from one state to another. Within one bucket (LEASED to RUNNING) nothing of its job changes. */
  move(jobId: string, from: TaskState, to: TaskState): void {
    if (TASK_BUCKETS[from] === TASK_BUCKETS[to]) return;
    const { counts } = this.#draft(jobId);
    counts[TASK_BUCKETS[from]] -= 1;
    counts[TASK_BUCKETS[to]] += 1;
  }

  /** Tasks were added by a plan. */
  add(jobId: string, added: { readonly ready: number; readonly blocked: number }): void {
    const { counts } = this.#draft(jobId);
    counts.total += added.ready + added.blocked;
    counts.ready += added.ready;
    counts.blocked += added.blocked;
  }

  /** The job counted other tasks than it has: by so many each count is off. */
  correct(jobId: string, counts: TaskCounts): void {
    const draft = this.#draft(jobId);
    for (const name of Object.keys(NO_TASKS) as (keyof TaskCounts)[]) {
      draft.counts[name] += counts[name];
    }
  }

  /** Something happened to the job itself. Twice in a row is once: a lease of a job that runs changes nothing. */
  event(jobId: string, event: JobEvent): void {
    const { events } = this.#draft(jobId);
    if (events.at(-1) !== event) events.push(event);
  }

  /** A task of the job failed; the first failure of the batch is kept. */
  fail(jobId: string, failure: Failure): void {
    const draft = this.#draft(jobId);
    draft.failure ??= failure;
  }

  #draft(jobId: string): Draft {
    let draft = this.#byJob.get(jobId);
    if (draft === undefined) {
      draft = { counts: { ...NO_TASKS }, failure: undefined, events: [] };
      this.#byJob.set(jobId, draft);
    }
    return draft;
  }
}
