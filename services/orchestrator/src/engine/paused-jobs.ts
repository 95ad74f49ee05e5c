/** Which jobs are paused, and how much they withhold. */

/** An open job that is paused. */
export interface PausedJob {
  readonly jobId: string;
  readonly namespace: string;
  /** Its tasks that would wait for an agent if it went on. */
  readonly tasks: number;
}

/** Owns the paused jobs. What they withhold is in no queue and counts with what waits all the same (`Backlog`): whoever submits and pauses
 * would fill the tables without an end otherwise, and a job that goes on would find no room. */
export class PausedJobs {
  readonly #jobs = new Map<string, PausedJob>();
  readonly #tasksOf = new Map<string, number>();
  #tasks = 0;

  get size(): number {
    return this.#jobs.size;
  }

  /** Withheld tasks of all jobs. */
  get tasks(): number {
    return this.#tasks;
  }

  /** Withheld tasks of a namespace. */
  tasksOf(namespace: string): number {
    return this.#tasksOf.get(namespace) ?? 0;
  }

  has(jobId: string): boolean {
    return this.#jobs.has(jobId);
  }

  add(job: PausedJob): void {
    this.delete(job.jobId);
    this.#jobs.set(job.jobId, job);
    this.#count(job.namespace, job.tasks);
  }

  /** A job withholds another number of tasks; of one that is not paused nothing is noted. */
  recount(jobId: string, tasks: number): void {
    const job = this.#jobs.get(jobId);
    if (job !== undefined) this.add({ ...job, tasks });
  }

  delete(jobId: string): void {
    const job = this.#jobs.get(jobId);
    if (job === undefined) return;
    this.#jobs.delete(jobId);
    this.#count(job.namespace, -job.tasks);
  }

  removeWhere(isMeant: (jobId: string) => boolean): void {
    for (const jobId of [...this.#jobs.keys()]) if (isMeant(jobId)) this.delete(jobId);
  }

  clear(): void {
    this.#jobs.clear();
    this.#tasksOf.clear();
    this.#tasks = 0;
  }

  #count(namespace: string, change: number): void {
    const tasks = this.tasksOf(namespace) + change;
    this.#tasks += change;
    if (tasks === 0) this.#tasksOf.delete(namespace);
    else this.#tasksOf.set(namespace, tasks);
  }
}
