/** How long a task waits until an agent has it, under a steady load that leaves room. */
import type { AgentWorker } from "../bed/bed.ts";
import type { Figure, FigureKey } from "../figure.ts";
import type { SteadyJob, TaskTimes } from "../load/steady-jobs.ts";
import { epochOffsetMs } from "../machine-clock.ts";
import { formatCount } from "../report.ts";
import { describeValues } from "../statistics.ts";
import { type Scenario, seconds, shortfall, stretchOf } from "./scenario.ts";

const TASKS_PER_SECOND = 1_000;
const JOB_TASKS = 10;
const WATCH_EACH = 10;
/** Beyond this the rate is more than the system can do, and latencies tell how long the measurement was. */
const BACKLOG_SLOPE_MAX = TASKS_PER_SECOND * 0.02;

/** Steady load: small jobs at even times, each moment of their tasks noted. */
export const assignmentScenario: Scenario = {
  name: "assignment",
  about: `from ready to assigned, and from submit to completed, at a steady ${TASKS_PER_SECOND} tasks/s`,
  run: async (bed) => {
    const stretch = stretchOf(bed, { full: [3_000, 20_000], quick: [1_000, 2_000] });
    const [client, agents] = await Promise.all([bed.client(), bed.agents()]);
    await Promise.all(agents.map((agent) => agent.call("noteArrivals", null)));
    const { jobs, result } = await client.call("submitSteadily", {
      ...stretch,
      tasksPerSecond: TASKS_PER_SECOND,
      jobTasks: JOB_TASKS,
      watchEach: WATCH_EACH,
    });
    const arrivals = await takeArrivals(agents);
    bed.progress(`assignment: reading the times of ${jobs.length * JOB_TASKS} tasks`);
    const times = await client.call(
      "readTaskTimes",
      jobs.map(({ jobId }) => jobId),
    );
    const rate = `${formatCount(TASKS_PER_SECOND)} tasks/s in jobs of ${JOB_TASKS}`;
    const load = `${rate}, ${seconds(stretch.measureMs)}${shortfall(result)}`;
    return toFigures({ jobs, times, arrivals, load, offsetMs: epochOffsetMs() });
  },
};

/** By task, by monotonicMs(); of the first attempt, should there be more. */
async function takeArrivals(agents: readonly AgentWorker[]): Promise<ReadonlyMap<string, number>> {
  const arrivals = new Map<string, number>();
  for (const agent of agents) {
    const { taskIds, atMs } = await agent.call("takeArrivals", null);
    for (const [index, taskId] of taskIds.entries()) {
      const arrivedAtMs = atMs[index] ?? Number.POSITIVE_INFINITY;
      arrivals.set(taskId, Math.min(arrivedAtMs, arrivals.get(taskId) ?? arrivedAtMs));
    }
  }
  return arrivals;
}

interface Observations {
  readonly jobs: readonly SteadyJob[];
  readonly times: readonly TaskTimes[];
  readonly arrivals: ReadonlyMap<string, number>;
  readonly load: string;
  /** From the machine's monotonic clock to the time of day, which is also the database's. */
  readonly offsetMs: number;
}

function toFigures(seen: Observations): Figure[] {
  const { jobs, times, arrivals, offsetMs } = seen;
  const plannedAt = new Map(jobs.map((job) => [job.jobId, job.plannedAtMs]));
  const arrivalOf = ({ taskId }: TaskTimes) => {
    const arrivedAtMs = arrivals.get(taskId);
    if (arrivedAtMs === undefined) throw new Error(`no agent saw ${taskId}, which has ended`);
    return arrivedAtMs;
  };
  const assignment = times.map((task) => arrivalOf(task) + offsetMs - task.readyAtMs);
  const submit = times.map((task) => arrivalOf(task) - (plannedAt.get(task.jobId) ?? Number.NaN));
  const queue = times.map((task) => task.leasedAtMs - task.readyAtMs);
  const durable = times.map((task) => task.endedAtMs - task.createdAtMs);
  const completed = jobs.flatMap(({ plannedAtMs, completedAtMs }) =>
    completedAtMs === undefined ? [] : [completedAtMs - plannedAtMs],
  );
  const slope = backlogSlope(times);
  const load = slope > BACKLOG_SLOPE_MAX ? `${seen.load}; NOT SUSTAINED: backlog grows` : seen.load;
  return [
    ...quantiles("assignment", assignment, `${load}; ready (database) to agent`),
    ...quantiles("queue", queue, "same load; ready to leased, by the database").slice(0, 2),
    ...quantiles("submit_to_assignment", submit, "same load; client's plan to agent"),
    ...quantiles(
      "submit_to_completed",
      completed,
      `same load; client's plan to its watch, ${completed.length} jobs`,
    ),
    {
      key: "durable_completion_p99_ms",
      value: describeValues(durable).p99,
      load: "same load; created to ended, by the database",
    },
    { key: "backlog_slope_per_second", value: slope, load: "same load" },
  ];
}

function quantiles(
  name: "assignment" | "queue" | "submit_to_assignment" | "submit_to_completed",
  values: readonly number[],
  load: string,
): Figure[] {
  const { p50, p95, p99 } = describeValues(values);
  return [
    { key: `${name}_p50_ms` as FigureKey, value: p50, load },
    { key: `${name}_p95_ms` as FigureKey, value: p95, load },
    { key: `${name}_p99_ms` as FigureKey, value: p99, load },
  ];
}

/** Tasks by which the backlog grew, for each second: the slope of what was created and had not ended yet, between the
 * moments when a tenth and nine tenths of all tasks were created. */
export function backlogSlope(
  times: readonly Pick<TaskTimes, "createdAtMs" | "endedAtMs">[],
): number {
  const created = times.map((task) => task.createdAtMs).sort((a, b) => a - b);
  const early = created[Math.floor(created.length * 0.1)] ?? 0;
  const late = created[Math.floor(created.length * 0.9)] ?? 0;
  const openAt = (atMs: number) =>
    times.filter((task) => task.createdAtMs <= atMs && task.endedAtMs > atMs).length;
  return late === early ? 0 : ((openAt(late) - openAt(early)) / (late - early)) * 1_000;
}
