/** The owner of a job stopped until another owns its shards: the job goes on without it, and what it still writes fails. */
import { randomUUID } from "node:crypto";
import { type Job, JobState, type NexusClient, toTaskSpec } from "@nexus/sdk";
import { waitFor } from "@nexus/testkit";
import { waitForEnd } from "../e2e/_fleet.ts";
import { readHistory, toldEvents } from "./_append-load.ts";
import {
  type Bed,
  LIVENESS_MS,
  ORCHESTRATORS,
  type OrchestratorName,
  ownerOf,
  readMetric,
  uuidOf,
} from "./_bed.ts";
import { belowMinimum, type Campaign, playRounds, type Verdict } from "./_campaign.ts";
import { findViolations, type ToldEvent } from "./_history.ts";

const CAPABILITY = "paused.wait";
const FAILURES = "nexus_orchestrator_flush_failures_total";
const SLOTS = 4;
const TASK_MS = 300;
/** One job that ends while its owner is stopped, and one that goes on after it woke. */
const TASKS_SHORT = 8;
const TASKS_LONG = 60;

/** The campaign. */
export const ownerPaused: Campaign = {
  name: "owner-paused",
  about: "an owner stopped past its lease and resumed: it writes nothing, its jobs end once",
  shortMs: 0,
  play: async (bed, options) => {
    const { client } = await bed.fleet.createUser();
    const agent = await bed.spawn("paused-1", SLOTS, { capability: CAPABILITY });
    try {
      const verdict = await playRounds(options, (number) => {
        const owner = ORCHESTRATORS[(options.seed + number) % ORCHESTRATORS.length];
        return pauseOwner({ bed, client, owner: owner ?? "orchestrator", ...options });
      });
      const { counts, problems } = verdict;
      return { counts, problems: [...belowMinimum(counts, { "jobs ended": 2 }), ...problems] };
    } finally {
      agent.child.kill("SIGKILL");
    }
  },
};

interface Round {
  readonly bed: Bed;
  readonly client: NexusClient;
  readonly owner: OrchestratorName;
  readonly progress: (text: string) => void;
}

async function pauseOwner({ bed, client, owner, progress }: Round): Promise<Verdict> {
  const { processes } = bed.fleet.stack;
  const atOwner = await bed.clientOf(owner, client);
  const survivor = ORCHESTRATORS.find((name) => name !== owner) ?? owner;
  const elsewhere = await bed.clientOf(survivor, client);
  const short = await submit(atOwner, TASKS_SHORT);
  const long = await submit(atOwner, TASKS_LONG);
  const owners = [await ownerOf(bed, short.jobId), await ownerOf(bed, long.jobId)];
  const watches = Promise.all([watchToEnd(client, long), watchToEnd(elsewhere, long)]);
  // They are awaited at the end; a failure before that must not count as one that nobody handles.
  watches.catch(() => undefined);
  await untilRunning(bed, short);

  const failuresBefore = (await readMetric(bed, owner, FAILURES)) || 0;
  progress(`stops ${owner}, which owns the jobs`);
  await processes.kill(owner, "SIGSTOP");
  const stoppedAtMs = performance.now();
  await bed.untilOwning(owner, false);
  const takenOverMs = Math.round(performance.now() - stoppedAtMs);
  await waitForEnd(elsewhere, short.jobId, LIVENESS_MS);
  const endedMs = Math.round(performance.now() - stoppedAtMs);
  const before = await rowsOf(bed, short);
  const leaseLeft = await openTasks(bed, long);

  progress(`put out after ${takenOverMs} ms; a job ended after ${endedMs} ms; lets it go on`);
  await processes.kill(owner, "SIGCONT");
  await bed.untilOwning(owner, true);
  const after = await rowsOf(bed, short);
  const jobs = await Promise.all([
    waitForEnd(client, short.jobId, LIVENESS_MS),
    waitForEnd(client, long.jobId, LIVENESS_MS),
  ]);
  const problems = [
    ...(owners.every((name) => name === owner) ? [] : [`${owner} did not own its own jobs`]),
    ...(before === after ? [] : ["rows of an ended job changed when its old owner woke"]),
    ...(await judge(client, [short, long], jobs)),
    ...compareWatches(long, ...(await watches)),
  ];
  const failures = (await readMetric(bed, owner, FAILURES)) || 0;
  return {
    counts: {
      "refused writes": failures - failuresBefore,
      "jobs ended": jobs.filter(({ state }) => state === JobState.COMPLETED).length,
      "tasks left at waking": leaseLeft,
      "slowest take-over, ms": takenOverMs,
    },
    problems,
  };
}

interface Submitted {
  readonly jobId: string;
  readonly tasks: readonly string[];
}

async function submit(client: NexusClient, count: number): Promise<Submitted> {
  const tasks = Array.from({ length: count }, (_, index) => `t${index}`);
  const { job } = await client.jobs.submitJob({
    requestId: randomUUID(),
    tasks: tasks.map((key) => toTaskSpec({ key, capability: CAPABILITY, input: { ms: TASK_MS } })),
  });
  return { jobId: job?.jobId ?? "", tasks };
}

async function untilRunning(bed: Bed, { jobId }: Submitted): Promise<void> {
  const text = `SELECT 1 FROM task_states WHERE job_id = $1 AND state = 'RUNNING'`;
  await waitFor(async () => (await bed.tables.query(text, [uuidOf(jobId)])).rowCount > 0, {
    timeoutMs: LIVENESS_MS,
    what: "a task to run",
  });
}

async function openTasks(bed: Bed, { jobId }: Submitted): Promise<number> {
  const text = `SELECT total - succeeded AS open FROM jobs WHERE job_id = $1`;
  const { rows } = await bed.tables.query<{ open: number }>(text, [uuidOf(jobId)]);
  return rows[0]?.open ?? 0;
}

/** Everything stored of a job with the transactions that wrote it: any write since shows, even one that changes nothing. */
async function rowsOf(bed: Bed, { jobId }: Submitted): Promise<string> {
  const parts: unknown[] = [];
  for (const table of ["jobs", "task_states", "job_events"]) {
    const text = `SELECT x.xmin::text, x.* FROM ${table} x WHERE x.job_id = $1 ORDER BY x::text`;
    parts.push((await bed.tables.query(text, [uuidOf(jobId)])).rows);
  }
  const attempts = `
    SELECT a.xmin::text, a.* FROM past_attempts a JOIN tasks t USING (task_id) WHERE t.job_id = $1
     ORDER BY a.task_id, a.attempt`;
  parts.push((await bed.tables.query(attempts, [uuidOf(jobId)])).rows);
  return JSON.stringify(parts);
}

/** Watches from the last event that came, as clients do, until the job has ended. */
async function watchToEnd(client: NexusClient, { jobId }: Submitted): Promise<ToldEvent[]> {
  const events: ToldEvent[] = [];
  const isOver = () => events.some(({ taskKey, final }) => taskKey === "" && final);
  await waitFor(
    async () => {
      const afterSequence = events.at(-1)?.sequence ?? 0n;
      for await (const message of client.jobs.watchJob({ jobId, afterSequence })) {
        events.push(...message.events.flatMap(toldEvents));
      }
      return isOver();
    },
    { timeoutMs: LIVENESS_MS, what: "a watch to see the end" },
  );
  return events;
}

async function judge(
  client: NexusClient,
  submitted: readonly Submitted[],
  jobs: readonly Job[],
): Promise<string[]> {
  const told = await Promise.all(jobs.map((job) => readHistory(client, job)));
  const elements = submitted.map(({ jobId, tasks }) => ({
    element: jobId,
    tasks,
    acknowledged: [jobId],
  }));
  return findViolations(
    elements,
    told.map((one) => ({ ...one, element: one.jobId })),
  );
}

/** Watches that went on over a change of owner have seen every event once. */
function compareWatches({ jobId, tasks }: Submitted, ...watches: readonly ToldEvent[][]): string[] {
  return watches.flatMap((events) =>
    findViolations(
      [{ element: jobId, tasks, acknowledged: [jobId] }],
      [{ element: jobId, jobId, ended: true, events }],
    ).map((problem) => `as watched: ${problem}`),
  );
}
