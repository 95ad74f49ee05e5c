/** Admission of a task graph: everything that is wrong with it, before the first row is written. */
import type { FieldViolation } from "@nexus/shared";
import { findConstraintProblem } from "./label-constraint.ts";
import { GRAPH_DEPTH_MAX, GRAPH_FAN_OUT_MAX } from "./limits.ts";
import type { TaskSpec } from "./task.ts";
import { isVersionRange } from "./version-range.ts";

/** Why a graph is refused. */
export type GraphReason =
  | "TASK_KEY_DUPLICATE"
  | "DEPENDENCY_UNKNOWN"
  | "INPUT_NAME_DUPLICATE"
  | "VERSION_RANGE_INVALID"
  | "LABEL_CONSTRAINT_INVALID"
  | "MAP_INVALID"
  | "GRAPH_CYCLE"
  | "GRAPH_TOO_DEEP"
  | "GRAPH_TOO_WIDE";

/** One thing that is wrong, with the field it is about. */
export interface GraphProblem extends FieldViolation {
  readonly reason: GraphReason;
}

/** Most problems reported: a caller mends the first ones and asks again. */
const PROBLEMS_MAX = 64;

/** The parts of a spec that admission looks at. */
type Node = Pick<TaskSpec, "key" | "versionRange" | "dependencies" | "labelConstraints" | "map">;

/** Returns what is wrong with a set of tasks; nothing when it may run.
 *
 * Checks keys, dependencies, ranges and label constraints first; the shape of the graph (cycle, depth, fan-out) only when those hold.
 * `reserved` are keys that the job already uses.   Cost: O(tasks + edges). */
export function findGraphProblems(
  tasks: readonly Node[],
  reserved: ReadonlySet<string> = new Set(),
): GraphProblem[] {
  const indexByKey = new Map<string, number>();
  const problems = new Problems();
  for (const [index, task] of tasks.entries()) {
    if (indexByKey.has(task.key) || reserved.has(task.key)) {
      problems.add("TASK_KEY_DUPLICATE", `tasks[${index}].key`, `"${task.key}" is taken already`);
    } else {
      indexByKey.set(task.key, index);
    }
  }
  for (const [index, task] of tasks.entries()) checkTask(task, index, indexByKey, problems);
  if (problems.found.length === 0) checkShape(tasks, indexByKey, problems);
  return problems.found;
}

class Problems {
  readonly found: GraphProblem[] = [];

  add(reason: GraphReason, field: string, description: string): void {
    if (this.found.length < PROBLEMS_MAX) this.found.push({ reason, field, description });
  }
}

function checkTask(
  task: Node,
  index: number,
  indexByKey: ReadonlyMap<string, number>,
  problems: Problems,
): void {
  if (!isVersionRange(task.versionRange)) {
    problems.add(
      "VERSION_RANGE_INVALID",
      `tasks[${index}].version_range`,
      `"${task.versionRange}" of task "${task.key}" is not a semver range such as ^1.2.0`,
    );
  }
  for (const [position, constraint] of (task.labelConstraints ?? []).entries()) {
    const problem = findConstraintProblem(constraint);
    if (problem === undefined) continue;
    const field = `tasks[${index}].label_constraints[${position}]`;
    problems.add("LABEL_CONSTRAINT_INVALID", field, `of task "${task.key}": ${problem}`);
  }
  if (task.dependencies.length > 0) checkDependencies(task, index, indexByKey, problems);
  const flaw = findMapFlaw(task);
  if (flaw !== undefined) {
    problems.add("MAP_INVALID", `tasks[${index}].map`, `task "${task.key}" ${flaw}`);
  }
}

function checkDependencies(
  task: Node,
  index: number,
  indexByKey: ReadonlyMap<string, number>,
  problems: Problems,
): void {
  const names = new Set<string>();
  for (const [position, dependency] of task.dependencies.entries()) {
    const field = `tasks[${index}].dependencies[${position}]`;
    if (!indexByKey.has(dependency.taskKey)) {
      const description = `task "${task.key}" depends on "${dependency.taskKey}", which is no task of this job`;
      problems.add("DEPENDENCY_UNKNOWN", `${field}.task_key`, description);
    }
    if (dependency.inputName !== "" && names.has(dependency.inputName)) {
      const description = `task "${task.key}" names two inputs "${dependency.inputName}"`;
      problems.add("INPUT_NAME_DUPLICATE", `${field}.input_name`, description);
    }
    names.add(dependency.inputName);
  }
}

function findMapFlaw({ map, dependencies }: Node): string | undefined {
  if (map === undefined) return undefined;
  const edges = dependencies.filter((edge) => edge.taskKey === map.source);
  if (edges.length === 0) {
    return `is mapped over "${map.source}", which is none of its dependencies`;
  }
  if (edges.some((edge) => edge.onFailure === "CONTINUE")) {
    return `cannot run without the list of "${map.source}", so that edge cannot say CONTINUE`;
  }
  const isTaken = dependencies.some((edge) => edge.inputName === map.itemName);
  return isTaken ? `names two inputs "${map.itemName}"` : undefined;
}

const NO_CHILDREN: readonly number[] = [];

interface Graph {
  /** For each task that others depend on, which do; one entry per edge. */
  readonly children: ReadonlyMap<number, readonly number[]>;
  /** For each task, how many edges lead to it. */
  readonly pending: number[];
}

function buildGraph(tasks: readonly Node[], indexByKey: ReadonlyMap<string, number>): Graph {
  const children = new Map<number, number[]>();
  for (const [index, task] of tasks.entries()) {
    for (const { taskKey } of task.dependencies) {
      const parent = indexByKey.get(taskKey) as number;
      const list = children.get(parent);
      if (list === undefined) children.set(parent, [index]);
      else list.push(index);
    }
  }
  return { children, pending: tasks.map((task) => task.dependencies.length) };
}

/** Kahn's algorithm, level by level: what is left over lies on a cycle or behind one. */
function checkShape(
  tasks: readonly Node[],
  indexByKey: ReadonlyMap<string, number>,
  problems: Problems,
): void {
  const { children, pending } = buildGraph(tasks, indexByKey);
  for (const index of tasks.keys()) {
    const list = children.get(index);
    if (list === undefined) continue;
    const width = new Set(list).size;
    if (width > GRAPH_FAN_OUT_MAX) {
      const description = `${width} tasks depend on "${tasks[index]?.key}"; at most ${GRAPH_FAN_OUT_MAX} may`;
      problems.add("GRAPH_TOO_WIDE", `tasks[${index}]`, description);
    }
  }
  let level = rootsOf(pending);
  let visited = 0;
  for (let depth = 1; level.length > 0; depth += 1) {
    if (depth === GRAPH_DEPTH_MAX + 1) {
      const index = level[0] as number;
      const description = `"${tasks[index]?.key}" has ${GRAPH_DEPTH_MAX} tasks before it; at most ${GRAPH_DEPTH_MAX - 1} may`;
      problems.add("GRAPH_TOO_DEEP", `tasks[${index}]`, description);
    }
    visited += level.length;
    level = nextLevel(level, children, pending);
  }
  if (visited < tasks.length) reportCycle(tasks, indexByKey, pending, problems);
}

function rootsOf(pending: readonly number[]): number[] {
  const roots: number[] = [];
  for (let index = 0; index < pending.length; index += 1) {
    if (pending[index] === 0) roots.push(index);
  }
  return roots;
}

function nextLevel(
  level: readonly number[],
  children: Graph["children"],
  pending: number[],
): number[] {
  const next: number[] = [];
  for (const index of level) {
    for (const child of children.get(index) ?? NO_CHILDREN) {
      const left = (pending[child] ?? 0) - 1;
      pending[child] = left;
      if (left === 0) next.push(child);
    }
  }
  return next;
}

/** Walks backwards from a task that was never reached: all its blocked ancestors wait too, so the walk must repeat. */
function reportCycle(
  tasks: readonly Node[],
  indexByKey: ReadonlyMap<string, number>,
  pending: readonly number[],
  problems: Problems,
): void {
  const isStuck = (index: number) => (pending[index] ?? 0) > 0;
  const path: number[] = [];
  const seen = new Set<number>();
  let at = tasks.findIndex((_task, index) => isStuck(index));
  while (!seen.has(at)) {
    seen.add(at);
    path.push(at);
    const parents = tasks[at]?.dependencies.map((edge) => indexByKey.get(edge.taskKey) as number);
    at = parents?.find(isStuck) as number;
  }
  const cycle = path.slice(path.indexOf(at)).reverse();
  const keys = [...cycle, cycle[0] as number].map((index) => tasks[index]?.key);
  problems.add(
    "GRAPH_CYCLE",
    `tasks[${cycle[0]}]`,
    `the tasks wait for each other: ${keys.join(" -> ")}`,
  );
}
