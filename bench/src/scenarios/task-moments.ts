/** When tasks reached their agents, and how that compares with when the database says that they were ready. */
import type { AgentWorker, ClientWorker } from "../bed/bed.ts";
import type { Figure, FigureKey } from "../figure.ts";
import type { TaskTimes } from "../load/steady-jobs.ts";
import { epochOffsetMs } from "../machine-clock.ts";
import { describeValues } from "../statistics.ts";

/** A task of the measurement, with the moment at which its agent began. */
export interface ArrivedTask extends TaskTimes {
  /** By monotonicMs(). */
  readonly arrivedAtMs: number;
  /** From ready, by the database, to the agent; the machine's time of day is the database's too. */
  readonly assignmentMs: number;
}

/** Has all agents note from now on when tasks arrive. */
export async function noteArrivals(agents: readonly AgentWorker[]): Promise<void> {
  await Promise.all(agents.map((agent) => agent.call("noteArrivals", null)));
}

/** Reads all tasks of some jobs that have ended since noteArrivals().
 *
 * Errors: an Error for a task that has not ended, or that no agent saw. */
export async function readArrivedTasks(
  client: ClientWorker,
  agents: readonly AgentWorker[],
  jobIds: readonly string[],
): Promise<ArrivedTask[]> {
  const arrivals = await takeArrivals(agents);
  const times = await client.call("readTaskTimes", jobIds);
  const offsetMs = epochOffsetMs();
  return times.map((task) => {
    const arrivedAtMs = arrivals.get(task.taskId);
    if (arrivedAtMs === undefined) throw new Error(`no agent saw ${task.taskId}, which has ended`);
    return { ...task, arrivedAtMs, assignmentMs: arrivedAtMs + offsetMs - task.readyAtMs };
  });
}

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

/** The names under which three percentiles are reported. */
export type QuantileName =
  | "assignment"
  | "saturated_assignment"
  | "queue"
  | "submit_to_assignment"
  | "submit_to_completed";

/** Makes the figures of p50, p95 and p99. */
export function quantiles(name: QuantileName, values: readonly number[], load: string): Figure[] {
  const { p50, p95, p99 } = describeValues(values);
  return [
    { key: `${name}_p50_ms` as FigureKey, value: p50, load },
    { key: `${name}_p95_ms` as FigureKey, value: p95, load },
    { key: `${name}_p99_ms` as FigureKey, value: p99, load },
  ];
}
