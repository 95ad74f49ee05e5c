/** The reference that graphs are held against: what may have become of each task, given what became of those before it. Pure.
 *
 * Faults move the moment at which a job is stopped, and nothing else: a lost attempt costs none. */
import { EdgePolicy, JobState, TaskState } from "@nexus/sdk";
import { elementKey, type Fate, type Graph, type GraphNode, itemsOf } from "./_dag-graph.ts";

/** A generation of a graph's job that has ended. */
export interface EndedGraph {
  readonly state: JobState;
  /** By key, the tasks made for elements too. */
  readonly states: ReadonlyMap<string, TaskState>;
  /** Its cancel was asked for; it may have ended before. */
  readonly cancelled: boolean;
  /** Nothing of it was bad any more. */
  readonly mended: boolean;
}

/** One change of a job's history; of the job itself when it names no task. */
export interface GraphEvent {
  readonly taskKey: string;
  readonly state: TaskState | JobState;
}

/** Says what ended otherwise than the model allows. */
export function findUnlikeModel(graph: Graph, ended: EndedGraph): string[] {
  const problems: string[] = [];
  const expect = (key: string, allowed: readonly (TaskState | undefined)[]) => {
    const state = ended.states.get(key);
    if (allowed.includes(state)) return;
    problems.push(`${key} is ${nameOf(state)}, not ${allowed.map(nameOf).join(" or ")}`);
  };
  const known = new Set(graph.map(({ key }) => key));
  for (const node of graph) {
    const stop = isStopped(graph, ended) ? [TaskState.CANCELLED] : [];
    expect(node.key, [...endsOf(graph, node, ended), ...stop]);
    for (const [index, fate] of itemsOf(graph, node).entries()) {
      const key = elementKey(node, index);
      known.add(key);
      expect(key, elementEnds(graph, node, ended, fate));
    }
  }
  for (const key of ended.states.keys()) if (!known.has(key)) problems.push(`${key} is no task`);
  const end = endOf(graph, ended);
  if (ended.state !== end) {
    problems.push(`the job is ${JobState[ended.state]}, not ${JobState[end]}`);
  }
  return problems;
}

/** Which tasks a new generation keeps: what succeeded, unless it stands on something that runs again. */
export function keptOf(
  graph: Graph,
  states: EndedGraph["states"],
  from: string | undefined,
): string[] {
  const kept: boolean[] = [];
  for (const { key, parents } of graph) {
    const isRedone = key === from || states.get(key) !== TaskState.SUCCEEDED;
    kept.push(!isRedone && parents.every((edge) => kept[edge.from] === true));
  }
  return graph.filter((_node, index) => kept[index] === true).map(({ key }) => key);
}

/** Says what came in a wrong order: a task that was given to an agent before all that it depends on had ended, unless that is kept from
 * an earlier generation, or while the job was paused. */
export function findDisorder(
  graph: Graph,
  events: readonly GraphEvent[],
  kept: ReadonlySet<string>,
): string[] {
  const problems: string[] = [];
  const ended = new Set(kept);
  let paused = false;
  for (const { taskKey, state } of events) {
    if (taskKey === "") paused = state === JobState.PAUSED;
    else if (TASK_ENDS.has(state as TaskState)) ended.add(taskKey);
    else if (state === TaskState.LEASED) {
      if (paused) problems.push(`${taskKey} was given out while the job was paused`);
      const node = graph.find(({ key }) => key === taskKey.split("#")[0]);
      const early = node?.parents.filter(({ from }) => !ended.has(graph[from]?.key ?? ""));
      if (early?.length !== 0) problems.push(`${taskKey} was given out too early`);
    }
  }
  return problems;
}

const TASK_ENDS: ReadonlySet<TaskState> = new Set([
  TaskState.SUCCEEDED,
  TaskState.FAILED,
  TaskState.CANCELLED,
  TaskState.SKIPPED,
]);

/** How a task may end that nobody stops. */
function endsOf(graph: Graph, node: GraphNode, ended: EndedGraph): TaskState[] {
  const { states, mended } = ended;
  if (!isReady(graph, node, states)) {
    // What was stopped takes those behind it along; what failed or was passed over skips them.
    const isSkipped = node.parents.some(({ from, policy }) => {
      const state = states.get(graph[from]?.key ?? "");
      const isOver = state === TaskState.FAILED || state === TaskState.SKIPPED;
      return isOver && policy !== EdgePolicy.CONTINUE;
    });
    return isSkipped ? [TaskState.SKIPPED] : [];
  }
  if (node.source === undefined) return [fateEnd(node.fate, mended)];
  const elements = elementStates(graph, node, states);
  if (elements.includes(TaskState.FAILED)) return [TaskState.SKIPPED];
  return elements.every((state) => state === TaskState.SUCCEEDED) ? [TaskState.SUCCEEDED] : [];
}

/** Elements are there once everything before their mapped task has ended well; or nothing of it is, when it was stopped before. */
function elementEnds(graph: Graph, node: GraphNode, ended: EndedGraph, fate: Fate) {
  const { states, mended } = ended;
  if (!isReady(graph, node, states)) return [undefined];
  const stop = isStopped(graph, ended) ? [TaskState.CANCELLED] : [];
  const none = elementStates(graph, node, states).every((state) => state === undefined);
  if (none && states.get(node.key) === TaskState.CANCELLED) return [undefined];
  return [fateEnd(fate, mended), ...stop];
}

/** How the job must end, given how its tasks did. */
function endOf(graph: Graph, { state, states, cancelled }: EndedGraph): JobState {
  if (cancelled && state === JobState.CANCELLED) return state;
  const failed = graph.filter((node) => hasFailed(graph, node, states));
  if (failed.length === 0) return JobState.COMPLETED;
  if (failed.some(({ vital }) => vital)) return JobState.FAILED;
  const edgesBehind = (node: GraphNode) =>
    graph.flatMap(({ parents }) => parents.filter(({ from }) => graph[from] === node));
  const isTolerated = (node: GraphNode) =>
    edgesBehind(node).length > 0 &&
    edgesBehind(node).every(
      ({ policy }) => policy === EdgePolicy.SKIP || policy === EdgePolicy.CONTINUE,
    );
  const hasResult = graph.some(
    (node) => edgesBehind(node).length === 0 && states.get(node.key) === TaskState.SUCCEEDED,
  );
  return failed.every(isTolerated) && hasResult ? JobState.PARTIAL : JobState.FAILED;
}

/** A failed element counts as its mapped task's failure. */
function hasFailed(graph: Graph, node: GraphNode, states: EndedGraph["states"]): boolean {
  const own = states.get(node.key);
  return own === TaskState.FAILED || elementStates(graph, node, states).includes(TaskState.FAILED);
}

function isStopped(graph: Graph, { states, cancelled }: EndedGraph): boolean {
  return cancelled || graph.some(({ key, vital }) => vital && states.get(key) === TaskState.FAILED);
}

function isReady(graph: Graph, { parents }: GraphNode, states: EndedGraph["states"]): boolean {
  return parents.every(
    ({ from, policy }) =>
      states.get(graph[from]?.key ?? "") === TaskState.SUCCEEDED || policy === EdgePolicy.CONTINUE,
  );
}

function elementStates(graph: Graph, node: GraphNode, states: EndedGraph["states"]) {
  return itemsOf(graph, node).map((_fate, index) => states.get(elementKey(node, index)));
}

function fateEnd(fate: Fate, mended: boolean): TaskState {
  return fate === "bad" && !mended ? TaskState.FAILED : TaskState.SUCCEEDED;
}

function nameOf(state: TaskState | undefined): string {
  return state === undefined ? "not there" : TaskState[state];
}
