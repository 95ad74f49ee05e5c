/** The owner of a job stopped until another owns its shards: the job goes on without it, and what it still writes fails. */
import { randomUUID } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { type Job, JobState, type NexusClient, toTaskSpec } from "@nexus/sdk";
import { waitFor } from "@nexus/testkit";
import { submitTasks, waitForEnd } from "../e2e/_fleet.ts";
import { readHistory, toldEvents } from "./_append-load.ts";
import {
  type Bed,
  LIVENESS_MS,
  ORCHESTRATORS,
  type OrchestratorName,
  ownerOf,
  PROXIED,
  uuidOf,
} from "./_bed.ts";
import { belowMinimum, type Campaign, playRounds, type Verdict } from "./_campaign.ts";
import { findViolations, type ToldEvent } from "./_history.ts";
import { rowsOf } from "./_rows.ts";

const CAPABILITY = "paused.wait";
const REFUSED = "refused writes";
/** What every transaction of an orchestrator begins with, and what the database says when it refuses one. */
const HOLD = "ring-hold";
const REFUSAL = "the transaction must not be stored";
/** Half of them are kept for the stopped owner, which wanted some, for as long as its stream is there. */
const SLOTS = 8;
/** A job that ends while its owner is stopped, with words about it on their way to that owner. It takes all slots first. */
const SHORT = { tasks: 2 * SLOTS, ms: 300 };
/** One that the next owner begins and that then only runs, so that nobody has anything to write about it when the old owner wakes, which
 * knows it as waiting for slots that the words above free. */
const LONG = { tasks: 2, ms: 600_000 };
/** Jobs that the stopped owner is asked for. */
const ASKED = 8;
const ASKED_TASKS = 2;
const ASKED_MS = 30;
/** Who is stopped, in turn. What the first one writes last reaches its database late. */
const OWNERS = [PROXIED, ...ORCHESTRATORS.filter((name) => name !== PROXIED)];

/** The campaign. */
export const ownerPaused: Campaign = {
  name: "owner-paused",
  about: "an owner stopped past its lease and resumed: all its writes fail, its jobs end once",
  shortMs: 0,
  play: async (bed, options) => {
    const { client } = await bed.fleet.createUser();
    const agent = await bed.spawn("paused-1", SLOTS, { capability: CAPABILITY });
    try {
      const { counts, problems } = await playRounds(options, (number) => {
        const owner = OWNERS[number % OWNERS.length] ?? PROXIED;
        return pauseOwner({ bed, client, owner, ...options });
      });
      const minimums = { "jobs ended": 2 + ASKED, [REFUSED]: 1 };
      return { counts, problems: [...belowMinimum(counts, minimums), ...problems] };
    } finally {
      bed.proxy.pass();
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
  const short = await submit(atOwner, SHORT);
  const long = await submit(atOwner, LONG);
  const owners = [await ownerOf(bed, short.jobId), await ownerOf(bed, long.jobId)];
  const watches = Promise.all([watchToEnd(client, long), watchToEnd(elsewhere, long)]);
  // They are awaited at the end; a failure before that must not count as one that nobody handles.
  watches.catch(() => undefined);
  await untilRunning(bed, short, 1);

  const refusalsBefore = await countRefusals(bed);
  progress(`stops ${owner}, which owns the jobs`);
  if (owner === PROXIED) bed.proxy.delay();
  else await processes.kill(owner, "SIGSTOP");
  const asked = Array.from({ length: ASKED }, () => new Asked());
  const asking = Promise.all(asked.map((one) => one.ask(atOwner)));
  if (owner === PROXIED) await stopMidWrite(bed);
  const stoppedAtMs = performance.now();
  await bed.untilOwning(owner, false);
  const takenOverMs = Math.round(performance.now() - stoppedAtMs);
  await waitForEnd(elsewhere, short.jobId, LIVENESS_MS);
  const endedMs = Math.round(performance.now() - stoppedAtMs);
  await untilRunning(bed, long, LONG.tasks);
  const before = await Promise.all([rowsOf(bed, short.jobId), rowsOf(bed, long.jobId)]);

  progress(`put out after ${takenOverMs} ms; a job ended after ${endedMs} ms; lets it go on`);
  if (owner === PROXIED) await passLateWrites(bed, refusalsBefore);
  await processes.kill(owner, "SIGCONT");
  await bed.untilOwning(owner, true);
  await asking;
  const after = await Promise.all([rowsOf(bed, short.jobId), rowsOf(bed, long.jobId)]);
  const refused = (await countRefusals(bed)) - refusalsBefore;
  await client.jobs.cancelJob({ requestId: randomUUID(), jobId: long.jobId });
  for (const one of asked) await one.askUntilAnswered(elsewhere);
  const jobs = await Promise.all(
    [short.jobId, long.jobId, ...asked.map(({ jobId }) => jobId)].map((jobId) =>
      waitForEnd(client, jobId, LIVENESS_MS),
    ),
  );
  const states = jobs.map(({ state }) => JobState[state]).join(" ");
  const expected = ["COMPLETED", "CANCELLED", ...asked.map(() => "COMPLETED")].join(" ");
  const problems = [
    ...(owners.every((name) => name === owner) ? [] : [`${owner} did not own its own jobs`]),
    ...(before[0] === after[0] ? [] : ["rows of an ended job changed when its old owner woke"]),
    ...(before[1] === after[1] ? [] : ["rows of a running job changed when its old owner woke"]),
    ...(states === expected ? [] : [`jobs are ${states}`]),
    ...(await judge(client, [short, long, ...asked], jobs)),
    ...compareWatches(long, ...(await watches)),
  ];
  return {
    counts: {
      [REFUSED]: refused,
      "jobs ended": jobs.length,
      "asked while stopped": asked.length,
      "slowest take-over, ms": takenOverMs,
    },
    problems,
  };
}

interface Submitted {
  readonly jobId: string;
  readonly tasks: readonly string[];
  /** The job id of every answer. */
  readonly acknowledged: readonly string[];
}

async function submit(client: NexusClient, job: typeof SHORT): Promise<Submitted> {
  const tasks = Array.from({ length: job.tasks }, (_, index) => `t${index}`);
  const jobId = await submitTasks(
    client,
    tasks.map((key) => ({ key, capability: CAPABILITY, input: { ms: job.ms, obey: true } })),
  );
  return { jobId, tasks, acknowledged: [jobId] };
}

/** A job that may have been asked for in vain, and is asked for again under the same request id. */
class Asked implements Submitted {
  readonly acknowledged: string[] = [];
  readonly tasks = Array.from({ length: ASKED_TASKS }, (_, index) => `t${index}`);
  readonly #requestId = randomUUID();

  get jobId(): string {
    return this.acknowledged[0] ?? "";
  }

  /** Asks once; an error leaves it open whether the job exists. */
  async ask(client: NexusClient): Promise<void> {
    const tasks = this.tasks.map((key) =>
      toTaskSpec({ key, capability: CAPABILITY, input: { ms: ASKED_MS } }),
    );
    const asked = client.jobs.submitJob({ requestId: this.#requestId, tasks });
    const answer = await asked.catch(() => undefined);
    if (answer?.job !== undefined) this.acknowledged.push(answer.job.jobId);
  }

  /** Asks elsewhere as well, whether or not it was answered: it is one job. */
  async askUntilAnswered(client: NexusClient): Promise<void> {
    const answers = this.acknowledged.length;
    const isAnswered = async () => {
      await this.ask(client);
      return this.acknowledged.length > answers;
    };
    await waitFor(isAnswered, { timeoutMs: LIVENESS_MS, what: "an answer to a submission" });
  }
}

async function untilRunning({ tables }: Bed, { jobId }: Submitted, atLeast: number): Promise<void> {
  const text = `SELECT 1 FROM task_states WHERE job_id = $1 AND state = 'RUNNING'`;
  await waitFor(async () => (await tables.query(text, [uuidOf(jobId)])).rowCount >= atLeast, {
    timeoutMs: LIVENESS_MS,
    what: `${atLeast} tasks to run`,
  });
}

/** Stops the owner when it has sent something to be written that has not arrived. */
async function stopMidWrite({ proxy, fleet }: Bed): Promise<void> {
  await waitFor(() => proxy.isWaiting(HOLD), {
    timeoutMs: LIVENESS_MS,
    what: "a write on its way",
  });
  await fleet.stack.processes.kill(PROXIED, "SIGSTOP");
}

/** Lets what the owner sent before it was stopped arrive, now that others own its shards. */
async function passLateWrites(bed: Bed, refusalsBefore: number): Promise<void> {
  bed.proxy.pass();
  const isRefused = async () => (await countRefusals(bed)) > refusalsBefore;
  await waitFor(isRefused, { timeoutMs: LIVENESS_MS, what: "a late write to be refused" });
}

/** How often the database refused to store a transaction, as its log has it. */
async function countRefusals({ tables }: Bed): Promise<number> {
  const { rows } = await tables.query<{ folder: string }>(
    "SELECT current_setting('data_directory') AS folder",
  );
  const log = await readFile(join(rows[0]?.folder ?? "", "..", "postgres.log"), "utf8");
  return log.split(REFUSAL).length - 1;
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
  const elements = submitted.map(({ jobId, tasks, acknowledged }) => ({
    element: jobId,
    tasks,
    acknowledged,
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
