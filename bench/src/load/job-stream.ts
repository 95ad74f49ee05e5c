/** Keeps a fixed number of jobs under way and counts the tasks that they complete. */
import { randomUUID } from "node:crypto";
import { setTimeout as wait } from "node:timers/promises";
import { JobState, type NexusClient } from "@nexus/sdk";
import { monotonicMs } from "../machine-clock.ts";
import { makeTasks, type TaskInit } from "./tasks.ts";

const POLL_MS = 100;
const DRAIN_TIMEOUT_MS = 60_000;
const ACTIVE = [JobState.PENDING, JobState.PLANNING, JobState.RUNNING];
const BROKEN = [JobState.FAILED, JobState.CANCELLED];

/** How much to keep under way. */
export interface JobStreamOptions {
  readonly jobsInFlight: number;
  readonly jobTasks: number;
}

/** Tasks completed so far, as committed. */
export interface TaskCount {
  readonly succeeded: number;
  /** When it stood so, by monotonicMs(). */
  readonly atMs: number;
}

/** A job of the stream. */
export interface StreamedJob {
  readonly jobId: string;
  /** When its submission began, by monotonicMs(). */
  readonly submittedAtMs: number;
}

/** Submits jobs, asks how they stand ten times a second with one call for all, replaces those that ended.
 *
 * A closed loop: the backlog stays the same, so the rate is what the system completes, not what it accepts. */
export class JobStream {
  readonly #client: NexusClient;
  readonly #options: JobStreamOptions;
  readonly #tasks: TaskInit[];
  /** Succeeded tasks of each job that is acknowledged and has not ended. */
  readonly #active = new Map<string, number>();
  /** Every job of the stream; as many as a measurement of seconds has. */
  readonly #submitted: StreamedJob[] = [];
  #submitting = 0;
  #finished = 0;
  #lastCount: TaskCount = { succeeded: 0, atMs: monotonicMs() };
  #stopping = false;
  #failure: Error | undefined;
  readonly #running: Promise<void>;

  constructor(client: NexusClient, options: JobStreamOptions) {
    this.#client = client;
    this.#options = options;
    this.#tasks = makeTasks(options.jobTasks);
    this.#running = this.#run();
    // Whoever calls stop() gets the error.
    this.#running.catch(() => undefined);
  }

  /** How many tasks were completed at the last look. Errors: that of the stream, when it broke. */
  count(): TaskCount {
    if (this.#failure !== undefined) throw this.#failure;
    return this.#lastCount;
  }

  /** Submits nothing more, waits for the rest and returns all jobs. Errors: an Error when a job did not complete. */
  async stop(): Promise<readonly StreamedJob[]> {
    this.#stopping = true;
    await this.#running;
    const { jobs } = await this.#client.jobs.listJobs({ states: BROKEN });
    const [broken] = jobs;
    if (broken !== undefined) {
      throw new Error(`${jobs.length} jobs did not complete: ${broken.failure?.reason ?? "?"}`);
    }
    return this.#submitted;
  }

  async #run(): Promise<void> {
    try {
      await this.#keepUnderWay();
    } catch (error) {
      this.#failure = toError(error);
      throw error;
    }
  }

  async #keepUnderWay(): Promise<void> {
    let giveUpAtMs = Number.POSITIVE_INFINITY;
    while (!this.#stopping || this.#active.size + this.#submitting > 0) {
      if (this.#stopping) giveUpAtMs = Math.min(giveUpAtMs, monotonicMs() + DRAIN_TIMEOUT_MS);
      if (monotonicMs() > giveUpAtMs) throw new Error(`${this.#active.size} jobs do not end`);
      if (this.#failure !== undefined) throw this.#failure;
      if (!this.#stopping) this.#refill();
      await wait(POLL_MS);
      await this.#look();
    }
  }

  #refill(): void {
    const missing = this.#options.jobsInFlight - this.#active.size - this.#submitting;
    for (let index = 0; index < missing; index += 1) {
      this.#submitting += 1;
      this.#submit()
        .catch((error: unknown) => {
          this.#failure ??= toError(error);
        })
        .finally(() => {
          this.#submitting -= 1;
        });
    }
  }

  async #submit(): Promise<void> {
    const submittedAtMs = monotonicMs();
    const request = { requestId: randomUUID(), tasks: this.#tasks };
    const { job } = await this.#client.jobs.submitJob(request);
    const jobId = job?.jobId ?? "";
    this.#active.set(jobId, 0);
    this.#submitted.push({ jobId, submittedAtMs });
  }

  async #look(): Promise<void> {
    const known = [...this.#active.keys()];
    const askedAtMs = monotonicMs();
    const { jobs } = await this.#client.jobs.listJobs({
      states: ACTIVE,
      // The newest come first, and no more than these are under way.
      page: { pageSize: this.#options.jobsInFlight },
    });
    const atMs = (askedAtMs + monotonicMs()) / 2;
    const succeeded = new Map(jobs.map((job) => [job.jobId, job.tasks?.succeeded ?? 0]));
    for (const jobId of known) {
      const count = succeeded.get(jobId);
      if (count !== undefined) {
        this.#active.set(jobId, count);
      } else {
        this.#active.delete(jobId);
        this.#finished += this.#options.jobTasks;
      }
    }
    const underWay = [...this.#active.values()].reduce((sum, count) => sum + count, 0);
    this.#lastCount = { succeeded: this.#finished + underWay, atMs };
  }
}

function toError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}
