/** The task that the bench has its agents do: nothing, so that everything measured is NEXUS. */
import { type PlannedTask, toTaskSpec } from "@nexus/sdk";

/** What the bench's agents can do. */
export const CAPABILITY = "bench.nothing";
export const CAPABILITY_VERSION = "1.0.0";
/** What a part of them can do besides: take messages for any one of them. */
export const LISTENER = "bench.listen";

/** A task in the contract's form. */
export type TaskInit = ReturnType<typeof toTaskSpec>;

/** What a task asks of an agent. */
export type TaskNeed = Pick<PlannedTask, "capability" | "versionRange">;

const MET_BY_ALL: TaskNeed = { capability: CAPABILITY, versionRange: "^1.0.0" };

/** Makes the tasks of one job: independent, each with a small input of its own. */
export function makeTasks(count: number, need: TaskNeed = MET_BY_ALL): TaskInit[] {
  return Array.from({ length: count }, (_, index) => {
    const task: PlannedTask = { key: `task-${index}`, ...need, input: { number: index } };
    return toTaskSpec(task);
  });
}
