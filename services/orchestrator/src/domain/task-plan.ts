/** Turns admitted specs into tasks: ids, edges by id, first states. */
import { DEFAULT_EDGE_POLICY, type EdgePolicy } from "./edge-policy.ts";
import { type LiveTask, toLiveSpec } from "./live-task.ts";
import type { Dependency, Payload, StoredTaskSpec, TaskSpec } from "./task.ts";

/** A task about to be inserted. */
export interface NewTask {
  readonly taskId: string;
  readonly jobId: string;
  readonly namespace: string;
  readonly ordinal: number;
  readonly spec: StoredTaskSpec;
  readonly input: Payload | undefined;
  readonly priority: number;
  readonly planning: boolean;
  readonly sink: boolean;
  readonly hasUpstream: boolean;
  /** One per dependency, in order. */
  readonly parents: readonly NewEdge[];
  /** How many of them have not ended, and one more for a mapped task, which never becomes ready itself. */
  readonly pending: number;
}

/** An edge about to be inserted. */
export interface NewEdge {
  readonly parentId: string;
  readonly inputName: string;
  readonly onFailure: EdgePolicy;
}

/** Where tasks belong. */
export interface TaskHome {
  readonly jobId: string;
  readonly namespace: string;
  /** The job's priority. */
  readonly priority: number;
  /** Ordinal of the first one. */
  readonly firstOrdinal: number;
  readonly planning: boolean;
}

/** Builds the tasks of admitted specs: every dependency names a task of the same list. */
export function planTasks(
  specs: readonly TaskSpec[],
  home: TaskHome,
  nextTaskId: () => string,
): NewTask[] {
  const idByKey = new Map<string, string>();
  const parents = new Set<string>();
  const feeders = new Set<string>();
  for (const { key, dependencies, map } of specs) {
    idByKey.set(key, nextTaskId());
    for (const { taskKey } of dependencies) {
      parents.add(taskKey);
      if (map !== undefined) feeders.add(taskKey);
    }
  }
  const tasks: NewTask[] = [];
  for (const { input, ...spec } of specs) {
    tasks.push({
      taskId: idByKey.get(spec.key) as string,
      jobId: home.jobId,
      namespace: home.namespace,
      ordinal: home.firstOrdinal + tasks.length,
      spec: feeders.has(spec.key) ? { ...spec, feedsMap: true } : spec,
      input,
      priority: home.priority + spec.priority,
      planning: home.planning,
      sink: !parents.has(spec.key),
      hasUpstream: spec.dependencies.some(isInput),
      parents: spec.dependencies.length === 0 ? NO_EDGES : edgesOf(spec.dependencies, idByKey),
      pending: spec.dependencies.length + gateOf(spec),
    });
  }
  return tasks;
}

const NO_EDGES: readonly NewEdge[] = [];

function isInput({ inputName }: Dependency): boolean {
  return inputName !== "";
}

function edgesOf(
  dependencies: readonly Dependency[],
  idByKey: ReadonlyMap<string, string>,
): NewEdge[] {
  return dependencies.map((edge) => ({
    parentId: idByKey.get(edge.taskKey) as string,
    inputName: edge.inputName,
    onFailure: edge.onFailure ?? DEFAULT_EDGE_POLICY,
  }));
}

/** The edge more than it has for which a mapped task waits. */
export function gateOf(spec: Pick<StoredTaskSpec, "map">): number {
  return spec.map === undefined ? 0 : 1;
}

/** Returns the tasks that wait for nothing, as they enter memory once they are committed. */
export function readyTasks(
  tasks: readonly NewTask[],
  readyAtMs: number,
  traceparent: string,
): LiveTask[] {
  const ready: LiveTask[] = [];
  for (const task of tasks) {
    if (task.pending > 0) continue;
    ready.push({
      taskId: task.taskId,
      jobId: task.jobId,
      namespace: task.namespace,
      key: task.spec.key,
      spec: toLiveSpec(task.spec),
      priority: task.priority,
      planning: task.planning,
      sink: task.sink,
      hasUpstream: task.hasUpstream,
      isNew: true,
      attempts: 0,
      charged: 0,
      readyAtMs,
      avoidAgentId: "",
      preferAgentId: "",
      traceparent,
    });
  }
  return ready;
}
