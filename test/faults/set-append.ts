/** Appends unique elements while processes die and stop, then reads the set: Jepsen's set test, with jobs as elements. */
import { randomUUID } from "node:crypto";
import {
  type Job,
  type JobEvent,
  JobState,
  type NexusClient,
  type PlannedTask,
  TaskState,
  toTaskSpec,
} from "@nexus/sdk";
import { sleep } from "@nexus/shared";
import { waitFor } from "@nexus/testkit";
import { startFleet, type TestFleet } from "../e2e/_fleet.ts";
import { belowMinimum, type Campaign, type CampaignOptions, type Verdict } from "./_campaign.ts";
import { findViolations, type Told, type ToldEvent } from "./_history.ts";
import { Nemesis } from "./_nemesis.ts";
import { createRandom, type Random } from "./_random.ts";

const AGENTS = ["faulty-1", "faulty-2", "faulty-3"] as const;
const SLOTS = 4;
const CLIENTS = 4;
const TASKS_MAX = 3;
const TASK_MS_MAX = 60;
/** Pause of a client after each append, and after a try that failed. */
const APPEND_PAUSE_MS = 60;
const RETRY_PAUSE_MS = 200;
/** One append in so many is asked for again although it was acknowledged: the answer must be the same. */
const REPEAT_ONE_IN = 8;
/** After the last fault: agents return, deadlines pass, retries run. */
const SETTLE_TIMEOUT_MS = 120_000;
const PAGE_SIZE = 500;
const READERS = 4;
const PROBLEMS_SHOWN_MAX = 20;
const ELEMENT = "element";

/** What one second of a run must have achieved, on a busy machine with a fault going on most of the time. */
const PER_SECOND = { acknowledged: 2, completed: 2, faults: 0.1 };

const JOB_ENDS: ReadonlySet<JobState> = new Set([
  JobState.COMPLETED,
  JobState.FAILED,
  JobState.CANCELLED,
]);
const TASK_ENDS: ReadonlySet<TaskState> = new Set([
  TaskState.SUCCEEDED,
  TaskState.FAILED,
  TaskState.CANCELLED,
  TaskState.SKIPPED,
]);

/** The campaign. */
export const setAppend: Campaign = {
  name: "set-append",
  about: "unique jobs under kills and pauses; each acknowledged one ends exactly once",
  run,
};

/** An element on its way; `acknowledged` grows with every answer. */
interface Append {
  readonly element: string;
  readonly requestId: string;
  readonly plan: readonly PlannedTask[];
  readonly acknowledged: string[];
}

async function run({ durationMs, seed, progress }: CampaignOptions): Promise<Verdict> {
  const random = createRandom(seed);
  progress("starting a durable database and six services");
  await using fleet = await startFleet({ durable: true });
  const { client } = await fleet.createUser();
  const nemesis = new Nemesis({ fleet, agentIds: AGENTS, slots: SLOTS, random, progress });
  await nemesis.begin();
  progress(`appending for ${Math.round(durationMs / 1_000)} s`);
  const appends: Append[] = [];
  const signal = AbortSignal.timeout(durationMs);
  const clients = Array.from({ length: CLIENTS }, (_, index) =>
    appendUntil(signal, {
      client,
      prefix: `c${index}`,
      random: createRandom(seed + index + 1),
      appends,
    }),
  );
  await Promise.all([nemesis.run(signal), ...clients]);
  progress(`${appends.length} appends; waiting for every job to end`);
  const jobs = await untilAllEnded(fleet, client, appends);
  progress("reading every history");
  return judge(appends, await readAll(client, jobs), { jobs, faults: nemesis.faults, durationMs });
}

interface Appender {
  readonly client: NexusClient;
  readonly prefix: string;
  readonly random: Random;
  readonly appends: Append[];
}

/** Appends one element after the other. A try that failed is repeated under its request id until it is answered: whether
 * it was committed is exactly what nobody knows. */
async function appendUntil(signal: AbortSignal, appender: Appender): Promise<void> {
  const { client, prefix, random, appends } = appender;
  for (let count = 0; !signal.aborted; count += 1) {
    const append = newAppend(`${prefix}-${count}`, random);
    appends.push(append);
    let answers = random.between(1, REPEAT_ONE_IN) === 1 ? 2 : 1;
    while (answers > 0 && !signal.aborted) {
      const answered = await submit(client, append);
      if (answered) answers -= 1;
      await sleep(answered ? APPEND_PAUSE_MS : RETRY_PAUSE_MS, signal).catch(() => undefined);
    }
  }
}

/** A chain of one to TASKS_MAX short tasks. */
function newAppend(element: string, random: Random): Append {
  const keys = Array.from({ length: random.between(1, TASKS_MAX) }, (_, index) => `t${index}`);
  const plan = keys.map(
    (key, index): PlannedTask => ({
      key,
      capability: "work.wait",
      input: { ms: random.between(1, TASK_MS_MAX) },
      ...(index === 0 ? {} : { dependencies: [{ taskKey: keys[index - 1] ?? "" }] }),
    }),
  );
  return { element, requestId: randomUUID(), plan, acknowledged: [] };
}

async function submit(client: NexusClient, append: Append): Promise<boolean> {
  const { element, requestId, plan, acknowledged } = append;
  try {
    const request = { requestId, tasks: plan.map(toTaskSpec), labels: { [ELEMENT]: element } };
    const { job } = await client.jobs.submitJob(request);
    acknowledged.push(job?.jobId ?? "");
    return true;
  } catch {
    // Any error leaves it open whether the job exists; the next try under the same id finds out.
    return false;
  }
}

/** Waits until no job is open any more, and returns all of them. A job that stays open is judged, not waited for. */
async function untilAllEnded(
  fleet: TestFleet,
  client: NexusClient,
  appends: readonly Append[],
): Promise<Job[]> {
  for (const name of ["orchestrator", "mesh-router"] as const) {
    await fleet.stack.processes.waitReady(name);
  }
  const acknowledged = appends.filter((one) => one.acknowledged.length > 0).length;
  const isSettled = (jobs: readonly Job[]): boolean =>
    jobs.length >= acknowledged && jobs.every(({ state }) => JOB_ENDS.has(state));
  let last: Job[] = [];
  await waitFor(
    async () => {
      last = await listAll(client);
      return isSettled(last);
    },
    { timeoutMs: SETTLE_TIMEOUT_MS, what: "every job to end" },
  ).catch(() => undefined);
  return last;
}

async function listAll(client: NexusClient): Promise<Job[]> {
  const jobs: Job[] = [];
  let pageToken = "";
  do {
    const answer = await client.jobs.listJobs({ page: { pageSize: PAGE_SIZE, pageToken } });
    jobs.push(...answer.jobs);
    pageToken = answer.page?.nextPageToken ?? "";
  } while (pageToken !== "");
  return jobs;
}

async function readAll(client: NexusClient, jobs: readonly Job[]): Promise<Told[]> {
  const told: Told[] = [];
  const left = [...jobs];
  const read = async (): Promise<void> => {
    for (let job = left.pop(); job !== undefined; job = left.pop()) {
      told.push(await readOne(client, job));
    }
  };
  await Promise.all(Array.from({ length: READERS }, read));
  return told;
}

/** The history of a job that has not ended would be followed for ever; that it has not is problem enough. */
async function readOne(client: NexusClient, { jobId, labels, state }: Job): Promise<Told> {
  const ended = JOB_ENDS.has(state);
  const events: ToldEvent[] = [];
  if (ended) {
    for await (const message of client.jobs.watchJob({ jobId })) {
      events.push(...message.events.flatMap(toldEvents));
    }
  }
  return { element: labels[ELEMENT] ?? "", jobId, ended, events };
}

function toldEvents({ sequence, event }: JobEvent): ToldEvent[] {
  if (event.case === "jobChanged") {
    return [{ sequence, taskKey: "", final: JOB_ENDS.has(event.value.state) }];
  }
  if (event.case !== "taskChanged") return [];
  const { taskKey, state } = event.value;
  return [{ sequence, taskKey, final: TASK_ENDS.has(state) }];
}

interface Circumstances {
  readonly jobs: readonly Job[];
  readonly faults: number;
  readonly durationMs: number;
}

function judge(
  appends: readonly Append[],
  told: readonly Told[],
  { jobs, faults, durationMs }: Circumstances,
): Verdict {
  const counts = {
    appends: appends.length,
    acknowledged: appends.filter(({ acknowledged }) => acknowledged.length > 0).length,
    repeated: appends.filter(({ acknowledged }) => acknowledged.length > 1).length,
    completed: jobs.filter(({ state }) => state === JobState.COMPLETED).length,
    failed: jobs.filter(({ state }) => state === JobState.FAILED).length,
    faults,
  };
  const seconds = durationMs / 1_000;
  const minimums = Object.fromEntries(
    Object.entries(PER_SECOND).map(([name, rate]) => [name, Math.floor(rate * seconds)]),
  );
  const elements = appends.map(({ element, plan, acknowledged }) => ({
    element,
    tasks: plan.map(({ key }) => key),
    acknowledged,
  }));
  const problems = [...belowMinimum(counts, minimums), ...findViolations(elements, told)];
  const more = problems.length - PROBLEMS_SHOWN_MAX;
  const shown = problems.slice(0, PROBLEMS_SHOWN_MAX);
  return { counts, problems: more > 0 ? [...shown, `and ${more} more`] : shown };
}
