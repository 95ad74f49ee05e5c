/** What of an ended job runs again in a new generation, and what is kept. */
import { DEFAULT_EDGE_POLICY } from "./edge-policy.ts";
import type { StoredTaskSpec } from "./task.ts";
import type { NewEdge, NewTask, TaskHome } from "./task-plan.ts";
import type { TaskState } from "./task-state.ts";

/** Where a job stands in the line of its generations. */
export interface Lineage {
  /** Counts from 1 within an origin. */
  readonly generation: number;
  /** The first generation; empty for itself. */
  readonly originJobId: string;
  /** The job that this one retries or replays; empty in the first generation. */
  readonly replayOf: string;
  /** Key of the task from which it is replayed; empty for a retry. */
  readonly replayFrom: string;
}

/** The lineage of a job as submitted. */
export const FIRST_GENERATION: Lineage = {
  generation: 1,
  originJobId: "",
  replayOf: "",
  replayFrom: "",
};

/** A task of an ended job. */
export interface PriorTask {
  readonly taskId: string;
  /** The task that has its output: itself, or one of an earlier generation. */
  readonly outputId: string;
  readonly ordinal: number;
  readonly spec: StoredTaskSpec;
  readonly planning: boolean;
  readonly state: TaskState;
}

/** The tasks of a new generation. */
export interface Generation {
  /** Succeeded, and nothing before them runs again: their outputs stand. */
  readonly kept: readonly PriorTask[];
  readonly redone: readonly PriorTask[];
}

/** Keeps what succeeded and does the rest again, with all that depends on it. */
export function planRetry(tasks: readonly PriorTask[]): Generation {
  return planFrom(tasks, () => false);
}

/** Does one task again with all that depends on it, and whatever else had not succeeded. */
export function planReplay(tasks: readonly PriorTask[], fromKey: string): Generation {
  return planFrom(tasks, (task) => task.spec.key === fromKey);
}

/** An output stands only while everything before it does: so what runs again spreads along the edges, also along those that
 * let a task run without its input.
 *
 * A planner that runs again makes a new plan: the tasks of its old one are left out.   Cost: O(tasks + edges). */
function planFrom(tasks: readonly PriorTask[], isStart: (task: PriorTask) => boolean): Generation {
  const redone = new Set(
    tasks.filter((task) => task.state !== "SUCCEEDED" || isStart(task)).map(keyOf),
  );
  const planner = tasks.find((task) => task.planning);
  if (planner !== undefined && redone.has(planner.spec.key)) {
    return { kept: [], redone: [planner] };
  }
  const childrenOf = new Map<string, string[]>();
  for (const { spec } of tasks) {
    for (const { taskKey } of spec.dependencies) {
      const children = childrenOf.get(taskKey);
      if (children === undefined) childrenOf.set(taskKey, [spec.key]);
      else children.push(spec.key);
    }
  }
  // A set may grow while it is walked: each key is visited once.
  for (const key of redone) for (const child of childrenOf.get(key) ?? []) redone.add(child);
  return {
    kept: tasks.filter((task) => !redone.has(keyOf(task))),
    redone: tasks.filter((task) => redone.has(keyOf(task))),
  };
}

function keyOf(task: PriorTask): string {
  return task.spec.key;
}

/** Builds the tasks that run again: they wait for each other as before, and take kept outputs from where they are. */
export function redoneTasks(
  { kept, redone }: Generation,
  home: Omit<TaskHome, "firstOrdinal" | "planning">,
  nextTaskId: () => string,
): NewTask[] {
  const newIds = new Map(redone.map((task) => [keyOf(task), nextTaskId()]));
  const outputIds = new Map(kept.map((task) => [keyOf(task), task.outputId]));
  const parentKeys = new Set(redone.flatMap(({ spec }) => spec.dependencies.map((d) => d.taskKey)));
  return redone.map((task) => {
    const { spec } = task;
    const parents = spec.dependencies.map(
      (edge): NewEdge => ({
        parentId: newIds.get(edge.taskKey) ?? (outputIds.get(edge.taskKey) as string),
        inputName: edge.inputName,
        onFailure: edge.onFailure ?? DEFAULT_EDGE_POLICY,
      }),
    );
    return {
      taskId: newIds.get(spec.key) as string,
      jobId: home.jobId,
      namespace: home.namespace,
      ordinal: task.ordinal,
      spec,
      input: undefined,
      priority: home.priority + spec.priority,
      planning: task.planning,
      // Whatever depends on a task that runs again does so too, so the edges seen here are all there are.
      sink: !parentKeys.has(spec.key),
      hasUpstream: spec.dependencies.some((edge) => edge.inputName !== ""),
      parents,
      pending: spec.dependencies.filter((edge) => newIds.has(edge.taskKey)).length,
    };
  });
}
