/** How many tasks a second are completed, durably, when there is always more to do. */
import { setTimeout as wait } from "node:timers/promises";
import type { AgentWorker, Bed, ClientWorker } from "../bed/bed.ts";
import { type DatabaseCounters, type DatabaseProbe, openDatabaseProbe } from "../bed/database.ts";
import { readUsages } from "../bed/metrics.ts";
import type { Figure } from "../figure.ts";
import type { JobStreamOptions, TaskCount } from "../load/job-stream.ts";
import { monotonicMs } from "../machine-clock.ts";
import { formatCount } from "../report.ts";
import { type Scenario, seconds, stretchOf } from "./scenario.ts";

/** Enough that an agent never waits for the client, which looks ten times a second. */
const LOAD = { jobsInFlight: 16, jobTasks: 500 };
const LOAD_QUICK = { jobsInFlight: 8, jobTasks: 100 };
const FIRST_TASK_TIMEOUT_MS = 60_000;
const POLL_MS = 50;
const KIB = 1_024;
const MICROS = 1e6;

/** Saturation: a client keeps jobs under way, agents empty them. */
export const tasksScenario: Scenario = {
  name: "tasks",
  about: "tasks a second, end to end, at saturation; what one costs in log, commits and CPU",
  run: async (bed) => {
    const stretch = stretchOf(bed, { full: [3_000, 20_000], quick: [500, 2_000] });
    const [client, agents] = await Promise.all([bed.client(), bed.agents()]);
    const probe = openDatabaseProbe(bed.info);
    try {
      const sources = { bed, client, agents, probe };
      const load = bed.quick ? LOAD_QUICK : LOAD;
      await client.call("startJobs", load);
      await untilFirstTask(client);
      await wait(stretch.warmUpMs);
      const first = await readAll(sources);
      await wait(stretch.measureMs);
      const last = await readAll(sources);
      await client.call("stopJobs", null);
      return toFigures(first, last, load);
    } finally {
      await probe.close();
    }
  },
};

/** Submitting the first jobs is not the steady state. */
async function untilFirstTask(client: ClientWorker): Promise<void> {
  const giveUpAtMs = monotonicMs() + FIRST_TASK_TIMEOUT_MS;
  while ((await client.call("countTasks", null)).succeeded === 0) {
    if (monotonicMs() > giveUpAtMs) throw new Error("no task was completed in a minute");
    await wait(POLL_MS);
  }
}

/** Everything counted at one moment. */
interface Reading {
  readonly tasks: TaskCount;
  readonly database: DatabaseCounters;
  /** By service, and for the agents together and the client. */
  readonly cpuSeconds: ReadonlyMap<string, number>;
}

interface Sources {
  readonly bed: Bed;
  readonly client: ClientWorker;
  readonly agents: readonly AgentWorker[];
  readonly probe: DatabaseProbe;
}

async function readAll({ bed, client, agents, probe }: Sources): Promise<Reading> {
  const [tasks, database, usages, ofClient, ofAgents] = await Promise.all([
    client.call("countTasks", null),
    probe.read(),
    readUsages(bed.info),
    client.call("cpuSeconds", null),
    Promise.all(agents.map((agent) => agent.call("cpuSeconds", null))),
  ]);
  const cpuSeconds = new Map<string, number>([
    ...[...usages].map(([name, usage]) => [name, usage.cpuSeconds] as const),
    ["agents", ofAgents.reduce((sum, one) => sum + one, 0)],
    ["client", ofClient],
  ]);
  return { tasks, database, cpuSeconds };
}

function toFigures(first: Reading, last: Reading, jobs: JobStreamOptions): Figure[] {
  const tasks = last.tasks.succeeded - first.tasks.succeeded;
  const tookMs = last.tasks.atMs - first.tasks.atMs;
  if (tasks <= 0) throw new Error("no task was completed within the measurement");
  const growth = (counter: keyof DatabaseCounters) =>
    last.database[counter] - first.database[counter];
  const load = `always ${jobs.jobsInFlight} jobs of ${jobs.jobTasks} tasks under way, ${seconds(tookMs)}`;
  const same = `same load, ${formatCount(tasks)} tasks`;
  const database = `${same}; whole database`;
  return [
    { key: "tasks_per_second", value: (tasks / tookMs) * 1_000, load },
    { key: "wal_kib_per_task", value: growth("walBytes") / KIB / tasks, load: database },
    { key: "commits_per_task", value: growth("commits") / tasks, load: database },
    {
      key: "dead_tuples_per_task",
      value: growth("deadTuples") / tasks,
      load: `${same}; orchestrator's tables, vacuum at work`,
    },
    ...[...last.cpuSeconds].map(([service, cpu]): Figure => {
      const used = cpu - (first.cpuSeconds.get(service) ?? 0);
      return { key: "cpu_us_per_task", service, value: (used / tasks) * MICROS, load: same };
    }),
  ];
}
