/** Submits small jobs at a fixed rate and reads afterwards when each of their tasks got where. */
import { randomUUID } from "node:crypto";
import { setTimeout as wait } from "node:timers/promises";
import { JobState, type NexusClient } from "@nexus/sdk";
import { monotonicMs } from "../machine-clock.ts";
import { runSteadily, type SteadyResult, type Stretch } from "../pace.ts";
import { makeTasks } from "./tasks.ts";

const JOBS_IN_FLIGHT_MAX = 1_000;
const READERS = 8;
const PAGE_SIZE = 1_000;
const DRAIN_TIMEOUT_MS = 60_000;
const DRAIN_POLL_MS = 100;

/** What to submit. */
export interface SteadyJobsOptions extends Stretch {
  readonly tasksPerSecond: number;
  readonly jobTasks: number;
  /** Every so many jobs one is watched to its end, as a person would. */
  readonly watchEach: number;
}

/** A job of the measurement. */
export interface SteadyJob {
  readonly jobId: string;
  /** When it was to be submitted, by monotonicMs(). */
  readonly plannedAtMs: number;
  /** When its watcher saw it completed; undefined for a job that was not watched. */
  readonly completedAtMs: number | undefined;
}

/** What was submitted, and how that went. */
export interface SteadyJobs {
  readonly jobs: readonly SteadyJob[];
  readonly result: SteadyResult;
}

/** Submits jobs at even times; resolves when all of them have ended. */
export async function submitSteadily(
  client: NexusClient,
  options: SteadyJobsOptions,
): Promise<SteadyJobs> {
  const tasks = makeTasks(options.jobTasks);
  const jobs: SteadyJob[] = [];
  const pace = {
    ...options,
    tickMs: (options.jobTasks / options.tasksPerSecond) * 1_000,
    perTick: 1,
    inFlightMax: JOBS_IN_FLIGHT_MAX,
  };
  const result = await runSteadily(pace, async ({ index, plannedAtMs, measured }) => {
    const { job } = await client.jobs.submitJob({ requestId: randomUUID(), tasks });
    const jobId = job?.jobId ?? "";
    const watched = measured && index % options.watchEach === 0;
    const completedAtMs = watched ? await watchToCompletion(client, jobId) : undefined;
    if (measured) jobs.push({ jobId, plannedAtMs, completedAtMs });
  });
  await waitForAll(client);
  return { jobs, result };
}

async function watchToCompletion(client: NexusClient, jobId: string): Promise<number> {
  for await (const { events } of client.jobs.watchJob({ jobId })) {
    for (const { event } of events) {
      if (event.case === "jobChanged" && event.value.state === JobState.COMPLETED) {
        return monotonicMs();
      }
    }
  }
  throw new Error(`job ${jobId} ended without being completed`);
}

/** Waits until no job is under way any more. */
async function waitForAll(client: NexusClient): Promise<void> {
  const states = [JobState.PENDING, JobState.PLANNING, JobState.RUNNING];
  const giveUpAtMs = monotonicMs() + DRAIN_TIMEOUT_MS;
  for (;;) {
    const { jobs } = await client.jobs.listJobs({ states, page: { pageSize: 1 } });
    if (jobs.length === 0) return;
    if (monotonicMs() > giveUpAtMs) throw new Error("jobs do not end");
    await wait(DRAIN_POLL_MS);
  }
}

/** When a task got where, in epoch milliseconds of the database's clock. */
export interface TaskTimes {
  readonly taskId: string;
  readonly jobId: string;
  readonly createdAtMs: number;
  readonly readyAtMs: number;
  readonly leasedAtMs: number;
  readonly endedAtMs: number;
}

/** Reads the times of all tasks of some jobs. Errors: an Error for a task that has not ended. */
export async function readTaskTimes(
  client: NexusClient,
  jobIds: readonly string[],
): Promise<TaskTimes[]> {
  const times: TaskTimes[] = [];
  const left = [...jobIds];
  const reader = async () => {
    for (let jobId = left.pop(); jobId !== undefined; jobId = left.pop()) {
      const page = { pageSize: PAGE_SIZE };
      const { tasks } = await client.jobs.listTasks({ jobId, page });
      for (const task of tasks) {
        const { taskId } = task;
        times.push({
          taskId,
          jobId,
          createdAtMs: epochMs(task.createTime),
          readyAtMs: epochMs(task.readyTime),
          leasedAtMs: epochMs(task.leaseTime),
          endedAtMs: epochMs(task.endTime),
        });
      }
    }
  };
  await Promise.all(Array.from({ length: READERS }, reader));
  return times;
}

interface Moment {
  readonly seconds: bigint;
  readonly nanos: number;
}

function epochMs(moment: Moment | undefined): number {
  if (moment === undefined) throw new Error("a task has not been through all its states");
  return Number(moment.seconds) * 1_000 + moment.nanos / 1e6;
}
