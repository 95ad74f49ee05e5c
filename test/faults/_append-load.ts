/** The load of Jepsen's set test, with jobs as elements: appends unique ones, then reads the set and every history. */
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
import type { Bed } from "./_bed.ts";
import type { Verdict } from "./_campaign.ts";
import { findViolations, type Told, type ToldEvent } from "./_history.ts";
import { createRandom, type Random } from "./_random.ts";

const CLIENTS = 4;
const TASKS_MAX = 3;
const TASK_MS_MAX = 60;
/** One task in so many takes several slots of its agent. */
const COSTLY_ONE_IN = 4;
const COST_MAX = 3;
/** One append in so many is a burst of many at once, so that transactions hold many. */
const BURST_ONE_IN = 16;
const BURST = 16;
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
/** Tells the jobs of one load from those of another on the same bed. */
const RUN = "run";

const JOB_ENDS: ReadonlySet<JobState> = new Set([
  JobState.COMPLETED,
  JobState.FAILED,
  JobState.CANCELLED,
  JobState.PARTIAL,
]);
const TASK_ENDS: ReadonlySet<TaskState> = new Set([
  TaskState.SUCCEEDED,
  TaskState.FAILED,
  TaskState.CANCELLED,
  TaskState.SKIPPED,
]);

/** An element on its way; `acknowledged` grows with every answer. */
interface Append {
  readonly element: string;
  readonly requestId: string;
  readonly plan: readonly PlannedTask[];
  readonly acknowledged: string[];
}

/** Owns the appends of one run. */
export class AppendLoad {
  readonly #client: NexusClient;
  readonly #seed: number;
  readonly #run = randomUUID();
  readonly #appends: Append[] = [];
  #answers = 0;

  constructor(client: NexusClient, seed: number) {
    this.#client = client;
    this.#seed = seed;
  }

  /** Answers so far. */
  get answers(): number {
    return this.#answers;
  }

  /** Ids of the jobs that were acknowledged so far. */
  get jobIds(): string[] {
    return this.#appends.flatMap(({ acknowledged }) => acknowledged.slice(0, 1));
  }

  /** How many jobs have completed by now. */
  async countCompleted(): Promise<number> {
    return (await this.#list([JobState.COMPLETED])).length;
  }

  /** How many jobs have completed since a moment, monotonic milliseconds, as the tables have it. */
  async countCompletedSince({ tables }: Pick<Bed, "tables">, atMs: number): Promise<number> {
    const text = `
      SELECT count(*)::int AS n FROM jobs
       WHERE labels ->> '${RUN}' = $1 AND state = 'COMPLETED'
         AND ended_at > clock_timestamp() - $2 * interval '1 millisecond'`;
    const agoMs = Math.round(performance.now() - atMs);
    return (await tables.query<{ n: number }>(text, [this.#run, agoMs])).rows[0]?.n ?? 0;
  }

  /** How many jobs were stored in one transaction, and tasks leased and ended in one, at most: its moment is the same for all. */
  async readBatches({ tables }: Pick<Bed, "tables">): Promise<Readonly<Record<string, number>>> {
    const most = async (moment: string, from: string) => {
      const text = `SELECT max(n)::int AS n FROM (SELECT count(*) AS n FROM ${from} WHERE labels ->> '${RUN}' = $1 GROUP BY ${moment}) b`;
      return (await tables.query<{ n: number }>(text, [this.#run])).rows[0]?.n ?? 0;
    };
    const states = "task_states s JOIN jobs j USING (job_id)";
    return {
      "jobs at once": await most("created_at", "jobs"),
      "leased at once": await most("s.leased_at", states),
      "ended at once": await most("s.ended_at", states),
    };
  }

  /** Appends until the signal aborts. */
  async run(signal: AbortSignal): Promise<void> {
    const clients = Array.from({ length: CLIENTS }, (_, index) =>
      this.#appendUntil(signal, `c${index}`, createRandom(this.#seed + index + 1)),
    );
    await Promise.all(clients);
  }

  /** Waits until no job is open any more, reads all there is, and judges it. A job that stays open is judged, not waited for. */
  async judge(): Promise<Verdict> {
    const jobs = await this.#untilAllEnded();
    const told = await this.#readAll(jobs);
    const counts = {
      appends: this.#appends.length,
      acknowledged: this.jobIds.length,
      repeated: this.#appends.filter(({ acknowledged }) => acknowledged.length > 1).length,
      completed: jobs.filter(({ state }) => state === JobState.COMPLETED).length,
      failed: jobs.filter(({ state }) => state === JobState.FAILED).length,
    };
    const elements = this.#appends.map(({ element, plan, acknowledged }) => ({
      element,
      tasks: plan.map(({ key }) => key),
      acknowledged,
    }));
    const problems = findViolations(elements, told);
    const more = problems.length - PROBLEMS_SHOWN_MAX;
    const shown = problems.slice(0, PROBLEMS_SHOWN_MAX);
    return { counts, problems: more > 0 ? [...shown, `and ${more} more`] : shown };
  }

  /** Appends one element after the other, and now and then many at once. */
  async #appendUntil(signal: AbortSignal, prefix: string, random: Random): Promise<void> {
    for (let count = 0; !signal.aborted; count += 1) {
      const size = random.between(1, BURST_ONE_IN) === 1 ? BURST : 1;
      const appends = Array.from({ length: size }, (_, index) => {
        const append = newAppend(`${prefix}-${count}-${index}`, random);
        return this.#append(append, random.between(1, REPEAT_ONE_IN) === 1 ? 2 : 1, signal);
      });
      await Promise.all(appends);
    }
  }

  /** A try that failed is repeated under its request id until it is answered so often: whether it was committed is exactly what nobody knows. */
  async #append(append: Append, answers: number, signal: AbortSignal): Promise<void> {
    this.#appends.push(append);
    for (let left = answers; left > 0 && !signal.aborted; ) {
      const answered = await this.#submit(append);
      if (answered) left -= 1;
      await sleep(answered ? APPEND_PAUSE_MS : RETRY_PAUSE_MS, signal).catch(() => undefined);
    }
  }

  async #submit({ element, requestId, plan, acknowledged }: Append): Promise<boolean> {
    try {
      const labels = { [ELEMENT]: element, [RUN]: this.#run };
      const request = { requestId, tasks: plan.map(toTaskSpec), labels };
      const { job } = await this.#client.jobs.submitJob(request);
      acknowledged.push(job?.jobId ?? "");
      this.#answers += 1;
      return true;
    } catch {
      // Any error leaves it open whether the job exists; the next try under the same id finds out.
      return false;
    }
  }

  async #untilAllEnded(): Promise<Job[]> {
    const acknowledged = this.jobIds.length;
    const isSettled = (jobs: readonly Job[]): boolean =>
      jobs.length >= acknowledged && jobs.every(({ state }) => JOB_ENDS.has(state));
    let last: Job[] = [];
    await waitFor(
      async () => {
        last = await this.#list([]);
        return isSettled(last);
      },
      { timeoutMs: SETTLE_TIMEOUT_MS, what: "every job to end" },
    ).catch(() => undefined);
    return last;
  }

  /** Lists the jobs of this run in these states; in all when none is named. */
  async #list(states: JobState[]): Promise<Job[]> {
    const jobs: Job[] = [];
    let pageToken = "";
    do {
      const page = { pageSize: PAGE_SIZE, pageToken };
      const labels = { [RUN]: this.#run };
      const answer = await this.#client.jobs.listJobs({ states, labels, page });
      jobs.push(...answer.jobs);
      pageToken = answer.page?.nextPageToken ?? "";
    } while (pageToken !== "");
    return jobs;
  }

  async #readAll(jobs: readonly Job[]): Promise<Told[]> {
    const told: Told[] = [];
    const left = [...jobs];
    const read = async (): Promise<void> => {
      for (let job = left.pop(); job !== undefined; job = left.pop()) {
        told.push(await readHistory(this.#client, job));
      }
    };
    await Promise.all(Array.from({ length: READERS }, read));
    return told;
  }
}

/** Reads what the API tells of a job. The history of one that has not ended would be followed for ever; that it has not is
 * problem enough. */
export async function readHistory(
  client: NexusClient,
  { jobId, labels, state }: Pick<Job, "jobId" | "labels" | "state">,
): Promise<Told> {
  const ended = JOB_ENDS.has(state);
  const events: ToldEvent[] = [];
  if (ended) {
    for await (const message of client.jobs.watchJob({ jobId })) {
      events.push(...message.events.flatMap(toldEvents));
    }
  }
  return { element: labels[ELEMENT] ?? "", jobId, ended, events };
}

/** A chain of one to TASKS_MAX short tasks, of which some take several slots. */
function newAppend(element: string, random: Random): Append {
  const keys = Array.from({ length: random.between(1, TASKS_MAX) }, (_, index) => `t${index}`);
  const plan = keys.map(
    (key, index): PlannedTask => ({
      key,
      capability: "work.wait",
      input: { ms: random.between(1, TASK_MS_MAX) },
      slotCost: random.between(1, COSTLY_ONE_IN) === 1 ? random.between(2, COST_MAX) : 1,
      ...(index === 0 ? {} : { dependencies: [{ taskKey: keys[index - 1] ?? "" }] }),
    }),
  );
  return { element, requestId: randomUUID(), plan, acknowledged: [] };
}

/** The durable changes of a message; progress and chunks are no history. */
export function toldEvents({ sequence, event }: JobEvent): ToldEvent[] {
  if (event.case === "jobChanged") {
    return [{ sequence, taskKey: "", final: JOB_ENDS.has(event.value.state) }];
  }
  if (event.case !== "taskChanged") return [];
  const { taskKey, state } = event.value;
  return [{ sequence, taskKey, final: TASK_ENDS.has(state) }];
}
