/** What of an ended job runs again in a new generation, and what is kept. */
import { DEFAULT_EDGE_POLICY, type EdgePolicy } from "./edge-policy.ts";
import type { Dependency, StoredTaskSpec } from "./task.ts";
import { gateOf, type NewTask, type TaskHome } from "./task-plan.ts";
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
  /** The task that ran, and so has input and output: itself, or one of an earlier generation. */
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
 * A planner that runs again makes a new plan: the tasks of its old one are left out. So are those of the elements of a mapped
 * task that makes them anew.   Cost: O(tasks + edges). */
function planFrom(tasks: readonly PriorTask[], isStart: (task: PriorTask) => boolean): Generation {
  const redone = new Set(
    tasks.filter((task) => task.state !== "SUCCEEDED" || isStart(task)).map(keyOf),
  );
  const planner = tasks.find((task) => task.planning);
  if (planner !== undefined && redone.has(planner.spec.key)) {
    return { kept: [], redone: [planner] };
  }
  const childrenOf = childrenByKey(tasks);
  // A set may grow while it is walked: each key is visited once.
  for (const key of redone) for (const child of childrenOf.get(key) ?? []) redone.add(child);
  const remade = new Set(tasks.filter((task) => isRemade(task, redone, isStart)).map(keyOf));
  const rest = tasks.filter(({ spec }) => !remade.has(spec.mapItem?.of ?? ""));
  return {
    kept: rest.filter((task) => !redone.has(keyOf(task))),
    redone: rest.filter((task) => redone.has(keyOf(task))),
  };
}

/** Which tasks wait for which; a mapped task waits for those of its elements, too. */
function childrenByKey(tasks: readonly PriorTask[]): Map<string, string[]> {
  const childrenOf = new Map<string, string[]>();
  for (const { spec } of tasks) {
    for (const { taskKey } of spec.dependencies) push(childrenOf, taskKey, spec.key);
    if (spec.mapItem !== undefined) push(childrenOf, spec.key, spec.mapItem.of);
  }
  return childrenOf;
}

function push<T>(lists: Map<string, T[]>, key: string, value: T): void {
  const list = lists.get(key);
  if (list === undefined) lists.set(key, [value]);
  else list.push(value);
}

/** A mapped task makes the tasks of its elements anew when its list may be another one, or when it is asked for itself. Else
 * it waits for those of them that run again. */
function isRemade(
  task: PriorTask,
  redone: ReadonlySet<string>,
  isStart: (task: PriorTask) => boolean,
): boolean {
  const { spec } = task;
  if (spec.map === undefined) return false;
  return isStart(task) || spec.dependencies.some((edge) => redone.has(edge.taskKey));
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
  const policiesOf = new Map<string, EdgePolicy[]>();
  const itemsOf = new Map<string, string[]>();
  for (const { spec } of redone) {
    for (const edge of spec.dependencies) push(policiesOf, edge.taskKey, policyOf(edge));
    if (spec.mapItem !== undefined) push(itemsOf, spec.mapItem.of, spec.key);
  }
  return redone.map((task) => {
    const { spec } = task;
    // Whatever depends on a task that runs again does so too, so the edges seen here are all there are.
    const policies = policiesOf.get(spec.key) ?? [];
    const onFailure: EdgePolicy =
      policies.length > 0 && !policies.includes("FAIL") ? "SKIP" : "FAIL";
    const items = itemsOf.get(spec.key) ?? [];
    const again = spec.dependencies.filter((edge) => newIds.has(edge.taskKey));
    return {
      taskId: newIds.get(spec.key) as string,
      jobId: home.jobId,
      namespace: home.namespace,
      ordinal: task.ordinal,
      spec,
      input: undefined,
      priority: home.priority + spec.priority,
      planning: task.planning,
      sink: policies.length === 0 && spec.mapItem === undefined,
      hasUpstream: spec.dependencies.some((edge) => edge.inputName !== ""),
      parents: [
        ...spec.dependencies.map((edge) => ({
          parentId: newIds.get(edge.taskKey) ?? (outputIds.get(edge.taskKey) as string),
          inputName: edge.inputName,
          onFailure: policyOf(edge),
        })),
        ...items.map((key) => ({ parentId: newIds.get(key) as string, inputName: "", onFailure })),
      ],
      pending: again.length + items.length + gateOf(spec),
    };
  });
}

function policyOf(edge: Dependency): EdgePolicy {
  return edge.onFailure ?? DEFAULT_EDGE_POLICY;
}
