/** How long a task waits until an agent has it, under a steady load that leaves room. */
import type { Bed } from "../bed/bed.ts";
import type { Figure } from "../figure.ts";
import type { SteadyJob, TaskTimes } from "../load/steady-jobs.ts";
import { formatCount } from "../report.ts";
import { describeValues } from "../statistics.ts";
import { type Scenario, seconds, shortfall, stretchOf } from "./scenario.ts";
import { type ArrivedTask, noteArrivals, quantiles, readArrivedTasks } from "./task-moments.ts";

const TASKS_PER_SECOND = 1_000;
const JOB_TASKS = 10;
const WATCH_EACH = 10;
/** At a hundred calls a second it takes that long until what a call runs through is compiled: before it, a call costs twice as much. */
const WARM_UP_MS = 15_000;
/** Beyond this the rate is more than the system can do, and latencies tell how long the measurement was. */
const BACKLOG_SLOPE_MAX = TASKS_PER_SECOND * 0.02;

/** The steady part of `tasks` alone. */
export const assignmentScenario: Scenario = {
  name: "assignment",
  about: `of tasks, the part at a steady ${TASKS_PER_SECOND} tasks/s alone`,
  partOf: "tasks",
  run: measureSteadyAssignment,
};

/** Steady load: small jobs at even times, each moment of their tasks noted. */
export async function measureSteadyAssignment(bed: Bed): Promise<Figure[]> {
  const stretch = stretchOf(bed, { warmUpMs: WARM_UP_MS, measureMs: 20_000 });
  const [client, agents] = await Promise.all([bed.client(), bed.agents()]);
  await bed.settle();
  bed.progress(`assignment at ${TASKS_PER_SECOND} tasks/s`);
  await noteArrivals(agents);
  const { jobs, result } = await client.call("submitSteadily", {
    ...stretch,
    tasksPerSecond: TASKS_PER_SECOND,
    jobTasks: JOB_TASKS,
    watchEach: WATCH_EACH,
  });
  bed.progress(`assignment: reading the times of ${jobs.length * JOB_TASKS} tasks`);
  const jobIds = jobs.map(({ jobId }) => jobId);
  const tasks = await readArrivedTasks(client, agents, jobIds);
  const rate = `${formatCount(TASKS_PER_SECOND)} tasks/s in jobs of ${JOB_TASKS}`;
  const load = `${rate}, ${seconds(stretch.measureMs)}${shortfall(result)}`;
  return toFigures(jobs, tasks, load);
}

function toFigures(
  jobs: readonly SteadyJob[],
  tasks: readonly ArrivedTask[],
  wanted: string,
): Figure[] {
  const plannedAt = new Map(jobs.map((job) => [job.jobId, job.plannedAtMs]));
  const assignment = tasks.map((task) => task.assignmentMs);
  const submit = tasks.map((task) => task.arrivedAtMs - (plannedAt.get(task.jobId) ?? Number.NaN));
  const queue = tasks.map((task) => task.leasedAtMs - task.readyAtMs);
  const durable = tasks.map((task) => task.endedAtMs - task.createdAtMs);
  const completed = jobs.flatMap(({ plannedAtMs, completedAtMs }) =>
    completedAtMs === undefined ? [] : [completedAtMs - plannedAtMs],
  );
  const slope = backlogSlope(tasks);
  const load = slope > BACKLOG_SLOPE_MAX ? `${wanted}; NOT SUSTAINED: backlog grows` : wanted;
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
