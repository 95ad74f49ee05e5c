/** Submits a great many tasks that no agent will ever take. */
import { randomUUID } from "node:crypto";
import type { NexusClient } from "@nexus/sdk";
import { monotonicMs } from "../machine-clock.ts";
import { CAPABILITY, makeTasks } from "./tasks.ts";

/** The largest job there is. */
const JOB_TASKS_MAX = 10_000;
const JOBS_IN_FLIGHT = 2;
/** Nobody has the first; the second is a version, which nobody has, of what every agent of the bench does: tasks that
 * wait in one queue with those that are claimed. */
const NEEDS = [
  { capability: "bench.nobody", versionRange: "^1.0.0" },
  { capability: CAPABILITY, versionRange: "^2.0.0" },
];

/** How much to submit. */
export interface BacklogOptions {
  readonly tasks: number;
  /** Nothing more is submitted after this. */
  readonly timeoutMs: number;
}

/** What was submitted. */
export interface Backlog {
  readonly tasks: number;
  readonly tookMs: number;
}

/** Submits the tasks, half of them for each of two needs that nobody meets, in the largest jobs there are. */
export async function fillBacklog(client: NexusClient, options: BacklogOptions): Promise<Backlog> {
  const startedAtMs = monotonicMs();
  const giveUpAtMs = startedAtMs + options.timeoutMs;
  const left = planJobs(options.tasks);
  let submitted = 0;
  const lane = async () => {
    for (let job = left.pop(); job !== undefined && monotonicMs() < giveUpAtMs; job = left.pop()) {
      const tasks = makeTasks(job.tasks, job.need);
      await client.jobs.submitJob({ requestId: randomUUID(), tasks });
      submitted += job.tasks;
    }
  };
  await Promise.all(Array.from({ length: JOBS_IN_FLIGHT }, lane));
  return { tasks: submitted, tookMs: monotonicMs() - startedAtMs };
}

/** One job of the backlog. */
export interface BacklogJob {
  readonly tasks: number;
  readonly need: (typeof NEEDS)[number];
}

/** Cuts a number of tasks into jobs, the needs by turns and alike to one task. */
export function planJobs(tasks: number): BacklogJob[] {
  return NEEDS.flatMap((need, index) => {
    const share = Math.floor((tasks + index) / NEEDS.length);
    const jobs = Math.ceil(share / JOB_TASKS_MAX);
    return Array.from({ length: jobs }, (_, number) => ({
      tasks: Math.min(JOB_TASKS_MAX, share - number * JOB_TASKS_MAX),
      need,
    }));
  });
}
