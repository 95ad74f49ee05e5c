/** The load of a client that always has more to do, and two readings under it. */
import { setTimeout as wait } from "node:timers/promises";
import type { Bed, ClientWorker } from "../bed/bed.ts";
import type { JobStreamOptions, StreamedJob } from "../load/job-stream.ts";
import { monotonicMs } from "../machine-clock.ts";
import type { Stretch } from "../pace.ts";

/** Enough that an agent never waits for the client, which looks ten times a second. */
const LOAD = { jobsInFlight: 16, jobTasks: 500 };
const LOAD_QUICK = { jobsInFlight: 8, jobTasks: 100 };
/** The peers are measured as long as NEXUS is. */
export const SATURATION_STRETCH: Stretch = { warmUpMs: 3_000, measureMs: 20_000 };
const TASK_TIMEOUT_MS = 60_000;
const POLL_MS = 50;

/** How much is kept under way. */
export function saturationLoad(bed: Bed): JobStreamOptions {
  return bed.quick ? LOAD_QUICK : LOAD;
}

/** What was read before and after the measurement, and the jobs of the load. */
export interface Saturated<R> {
  readonly first: R;
  readonly last: R;
  readonly jobs: readonly StreamedJob[];
}

/** Has the client keep jobs under way, reads at both ends of the measurement, and lets the jobs end. It lasts until a task was completed
 * within it, which a quick run on a busy machine may take longer for than it was given. */
export async function underSaturation<R>(
  bed: Bed,
  stretch: Stretch,
  read: () => Promise<R>,
): Promise<Saturated<R>> {
  const client = await bed.client();
  await bed.agents();
  await client.call("startJobs", saturationLoad(bed));
  // Submitting the first jobs is not the steady state.
  await untilMoreTasks(client, 0);
  await wait(stretch.warmUpMs);
  const first = await read();
  const { succeeded } = await client.call("countTasks", null);
  await wait(stretch.measureMs);
  await untilMoreTasks(client, succeeded);
  const last = await read();
  return { first, last, jobs: await client.call("stopJobs", null) };
}

async function untilMoreTasks(client: ClientWorker, than: number): Promise<void> {
  const giveUpAtMs = monotonicMs() + TASK_TIMEOUT_MS;
  while ((await client.call("countTasks", null)).succeeded <= than) {
    if (monotonicMs() > giveUpAtMs) throw new Error("no task was completed in a minute");
    await wait(POLL_MS);
  }
}
