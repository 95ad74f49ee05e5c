/** Random graphs whose tasks know how they end, so that a model can say what becomes of the whole. */
import { EdgePolicy, type PlannedTask } from "@nexus/sdk";
import type { Random } from "./_random.ts";

const NODES_MIN = 3;
const NODES_MAX = 12;
const PARENTS_MAX = 3;
const ITEMS_MAX = 4;
const TASK_MS_MAX = 40;
/** Of tasks beside one that stops them: some still run when it fails. */
const STOPPED_MS_MAX = 400;
/** One in so many is a list, with a task for each of its elements behind it. */
const LIST_ONE_IN = 5;
// Agents are killed under the load, so a task may lose many: the model knows no end for that.
const RETRY = { initialDelay: { nanos: 1_000_000 }, maxLosses: 100 };
const ITEM = "item";

/** What an agent does with a task. `bad` fails for good until the graph is mended, `flaky` fails its first attempt. */
export type Fate = "ok" | "bad" | "flaky";

/** A task of a graph. Its parents stand before it. */
export interface GraphNode {
  readonly key: string;
  readonly fate: Fate;
  readonly ms: number;
  readonly parents: readonly GraphEdge[];
  /** Its failure stops all others. */
  readonly vital: boolean;
  /** The fates that it puts out, for a list. */
  readonly items?: readonly Fate[];
  /** The place of the list that it is mapped over. */
  readonly source?: number;
}

/** A parent's place in the graph, and what its failure means. */
export interface GraphEdge {
  readonly from: number;
  readonly policy: EdgePolicy;
}

/** A graph in an order in which it can run. */
export type Graph = readonly GraphNode[];

const FATES: readonly [Fate, ...Fate[]] = ["ok", "ok", "ok", "ok", "flaky", "bad"];
const POLICIES: readonly [EdgePolicy, ...EdgePolicy[]] = [
  EdgePolicy.UNSPECIFIED,
  EdgePolicy.FAIL,
  EdgePolicy.SKIP,
  EdgePolicy.SKIP,
  EdgePolicy.CONTINUE,
  EdgePolicy.CONTINUE,
];

/** Makes a graph; `vital` begins with a task that fails and stops the others. */
export function newGraph(random: Random, kind: "plain" | "vital"): Graph {
  const nodes: GraphNode[] = [];
  if (kind === "vital") {
    nodes.push({ key: "vital", fate: "bad", ms: TASK_MS_MAX, parents: [], vital: true });
  }
  const size = random.between(NODES_MIN, NODES_MAX);
  while (nodes.length < size) {
    const isList = random.between(1, LIST_ONE_IN) === 1;
    nodes.push(isList ? newList(nodes.length, random) : newTask(nodes.length, random, kind));
    if (isList) nodes.push(newMap(nodes.length, random));
  }
  return nodes;
}

/** Where the elements of a mapped task are. */
export function itemsOf(graph: Graph, { source }: GraphNode): readonly Fate[] {
  return (source === undefined ? undefined : graph[source]?.items) ?? [];
}

/** The key of the task that is made for an element. */
export function elementKey({ key }: GraphNode, index: number): string {
  return `${key}#${index}`;
}

/** The graph as it is submitted. Once there is a file named `mended`, nothing of it is bad. */
export function toTasks(graph: Graph, mended: string): PlannedTask[] {
  return graph.map((node) => ({
    key: node.key,
    capability: "work.wait",
    input: { ms: node.ms, obey: true, fate: node.fate, items: node.items, mended },
    dependencies: node.parents.map(({ from, policy }) => ({
      taskKey: graph[from]?.key ?? "",
      onFailure: policy,
    })),
    retry: RETRY,
    cancelSiblingsOnFailure: node.vital,
    ...(node.source === undefined
      ? {}
      : { map: { source: graph[node.source]?.key ?? "", itemName: ITEM } }),
  }));
}

function newTask(index: number, random: Random, kind: "plain" | "vital"): GraphNode {
  const ms = random.between(0, kind === "vital" ? STOPPED_MS_MAX : TASK_MS_MAX);
  const fate = random.pick(FATES);
  return { key: `t${index}`, fate, ms, parents: newParents(index, random), vital: false };
}

function newList(index: number, random: Random): GraphNode {
  const items = Array.from({ length: random.between(0, ITEMS_MAX) }, () => random.pick(FATES));
  const parents = newParents(index, random);
  return { key: `list${index}`, fate: "ok", ms: 0, parents, vital: false, items };
}

/** Over the list before it. What an element cannot be without it cannot go on without. */
function newMap(index: number, random: Random): GraphNode {
  const source = index - 1;
  const policy = random.pick([EdgePolicy.UNSPECIFIED, EdgePolicy.FAIL, EdgePolicy.SKIP]);
  const others = newParents(source, random);
  const parents = [...others, { from: source, policy }];
  return { key: `map${index}`, fate: "ok", ms: 0, parents, vital: false, source };
}

/** Some of the tasks before a place. */
function newParents(index: number, random: Random): GraphEdge[] {
  if (index === 0) return [];
  const places = Array.from({ length: random.between(0, PARENTS_MAX) }, () =>
    random.between(0, index - 1),
  );
  return [...new Set(places)].map((from) => ({ from, policy: random.pick(POLICIES) }));
}
