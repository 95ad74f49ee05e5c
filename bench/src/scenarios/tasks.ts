/** How many tasks a second are completed, durably, when there is always more to do; how long they wait; what peers do. */
import type { AgentWorker, Bed, ClientWorker } from "../bed/bed.ts";
import { type DatabaseCounters, type DatabaseProbe, openDatabaseProbe } from "../bed/database.ts";
import { readUsages } from "../bed/metrics.ts";
import { readFamilyCpuSeconds } from "../bed/process-cpu.ts";
import type { Figure } from "../figure.ts";
import type { TaskCount } from "../load/job-stream.ts";
import { formatCount, formatValue } from "../report.ts";
import { measureSteadyAssignment } from "./assignment.ts";
import { PEER_STEPS } from "./peers.ts";
import { SATURATION_STRETCH, saturationLoad, underSaturation } from "./saturation.ts";
import { type Scenario, seconds, stretchOf } from "./scenario.ts";
import { noteArrivals, quantiles, readArrivedTasks } from "./task-moments.ts";

const KIB = 1_024;
const MICROS = 1e6;

/** Saturation, then a steady rate, then the peers. */
export const tasksScenario: Scenario = {
  name: "tasks",
  about: "tasks a second and their latency, at saturation and at a steady rate, beside the peers",
  run: measureSaturation,
  further: [measureSteadyAssignment, ...PEER_STEPS],
};

async function measureSaturation(bed: Bed): Promise<Figure[]> {
  const stretch = stretchOf(bed, SATURATION_STRETCH);
  const [client, agents] = await Promise.all([bed.client(), bed.agents()]);
  const probe = openDatabaseProbe(bed.postgresUrl);
  try {
    await noteArrivals(agents);
    const { first, last, jobs } = await underSaturation(bed, stretch, () =>
      readAll({ bed, client, agents, probe }),
    );
    const measured = jobs.filter(
      ({ submittedAtMs }) => submittedAtMs >= first.tasks.atMs && submittedAtMs < last.tasks.atMs,
    );
    bed.progress(`tasks: reading the times of ${measured.length} jobs`);
    const jobIds = measured.map(({ jobId }) => jobId);
    const arrived = await readArrivedTasks(client, agents, jobIds);
    const assignment = arrived.map((task) => task.assignmentMs);
    const load =
      "same load; ready (database) to agent: as long as the backlog that the client keeps";
    return [...toFigures(bed, first, last), ...quantiles("saturated_assignment", assignment, load)];
  } finally {
    await probe.close();
  }
}

/** Everything counted at one moment. */
interface Reading {
  readonly tasks: TaskCount;
  readonly database: DatabaseCounters;
  /** By service, for the agents together, the client, and Postgres; undefined where the system does not tell. */
  readonly cpuSeconds: ReadonlyMap<string, number | undefined>;
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
  const cpuSeconds = new Map<string, number | undefined>([
    ...[...usages].map(([name, usage]) => [name, usage.cpuSeconds] as const),
    ["postgres", readFamilyCpuSeconds(bed.info.postgres.pid)],
    ["agents", ofAgents.reduce((sum, one) => sum + one, 0)],
    ["client", ofClient],
  ]);
  return { tasks, database, cpuSeconds };
}

function toFigures(bed: Bed, first: Reading, last: Reading): Figure[] {
  const tasks = last.tasks.succeeded - first.tasks.succeeded;
  const tookMs = last.tasks.atMs - first.tasks.atMs;
  if (tasks <= 0) throw new Error("no task was completed within the measurement");
  const perTask = (counter: keyof DatabaseCounters) =>
    (last.database[counter] - first.database[counter]) / tasks;
  const [inserted, updated, deleted] = [
    perTask("rowsInserted"),
    perTask("rowsUpdated"),
    perTask("rowsDeleted"),
  ];
  const { jobsInFlight, jobTasks } = saturationLoad(bed);
  const load = `always ${jobsInFlight} jobs of ${jobTasks} tasks under way, ${seconds(tookMs)}`;
  const same = `same load, ${formatCount(tasks)} tasks`;
  const kinds = `${formatValue(inserted)} inserted, ${formatValue(updated)} updated, ${formatValue(deleted)} deleted`;
  return [
    { key: "tasks_per_second", value: (tasks / tookMs) * 1_000, load },
    {
      key: "wal_kib_per_task",
      value: perTask("walBytes") / KIB,
      load: `${same}; whole database`,
    },
    { key: "commits_per_task", value: perTask("commits"), load: `${same}; whole database` },
    {
      key: "rows_written_per_task",
      value: inserted + updated + deleted,
      load: `${same}; orchestrator's tables: ${kinds}`,
    },
    {
      key: "dead_tuples_per_task",
      value: updated + deleted,
      load: `${same}; orchestrator's tables, one for each update and delete`,
    },
    ...[...last.cpuSeconds].map(([service, used]): Figure => {
      const before = first.cpuSeconds.get(service);
      const cpu = { key: "cpu_us_per_task", service } as const;
      if (used === undefined || before === undefined) {
        return { ...cpu, value: null, load: "not measured: this system has no /proc" };
      }
      return { ...cpu, value: ((used - before) / tasks) * MICROS, load: same };
    }),
  ];
}
