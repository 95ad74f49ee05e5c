import { EdgePolicy, JobState, TaskState } from "@nexus/sdk";
import { describe, expect, it } from "vitest";
import { elementKey, type Graph, itemsOf, newGraph } from "./_dag-graph.ts";
import {
  type EndedGraph,
  findDisorder,
  findUnlikeModel,
  type GraphEvent,
  keptOf,
} from "./_dag-model.ts";
import { createRandom } from "./_random.ts";

const { SUCCEEDED, FAILED, CANCELLED, SKIPPED, LEASED } = TaskState;
const task = { ms: 0, vital: false, parents: [] } as const;

/** One that fails, tolerated by both behind it; and a list with two elements. */
const graph: Graph = [
  { ...task, key: "bad", fate: "bad" },
  { ...task, key: "after", fate: "ok", parents: [{ from: 0, policy: EdgePolicy.CONTINUE }] },
  { ...task, key: "skipped", fate: "ok", parents: [{ from: 0, policy: EdgePolicy.SKIP }] },
  { ...task, key: "list", fate: "ok", items: ["ok", "flaky"] },
  { ...task, key: "map", fate: "ok", parents: [{ from: 3, policy: EdgePolicy.FAIL }], source: 3 },
];
const right = {
  bad: FAILED,
  after: SUCCEEDED,
  skipped: SKIPPED,
  list: SUCCEEDED,
  map: SUCCEEDED,
  "map#0": SUCCEEDED,
  "map#1": SUCCEEDED,
};

function judge(
  states: Readonly<Record<string, TaskState | undefined>>,
  situation: Partial<EndedGraph> = {},
): string[] {
  const there = Object.entries({ ...right, ...states }).filter(([, state]) => state !== undefined);
  return findUnlikeModel(graph, {
    state: JobState.PARTIAL,
    states: new Map(there),
    cancelled: false,
    mended: false,
    ...situation,
  });
}

describe("the model of a graph", () => {
  it("finds nothing wrong with what went right", () => {
    expect(judge({})).toEqual([]);
    const all = Object.fromEntries(Object.keys(right).map((key) => [key, SUCCEEDED]));
    expect(judge(all, { state: JobState.COMPLETED, mended: true })).toEqual([]);
    const stopped = { after: CANCELLED, map: CANCELLED, "map#0": undefined, "map#1": undefined };
    expect(judge(stopped, { state: JobState.CANCELLED, cancelled: true })).toEqual([]);
  });

  it.each([
    ["a failure that became a success", { bad: SUCCEEDED }, {}],
    ["a task that ran behind a failure", { skipped: SUCCEEDED }, {}],
    ["a task that was skipped for nothing", { after: SKIPPED }, {}],
    ["a task that was stopped by nobody", { after: CANCELLED }, {}],
    ["an element that is not there", { "map#1": undefined }, {}],
    ["an element that nobody listed", { "map#2": SUCCEEDED }, {}],
    ["a mapped task that does without an element", { "map#1": CANCELLED }, { cancelled: true }],
    ["a job that is worse than its tasks", {}, { state: JobState.FAILED }],
    ["a job that is better than its tasks", {}, { state: JobState.COMPLETED }],
    ["a job that was cancelled by nobody", {}, { state: JobState.CANCELLED }],
  ])("finds %s", (_what, states, situation) => {
    expect(judge(states, situation)).not.toEqual([]);
  });

  it("finds what was given out too early, or under a pause", () => {
    const ended = { taskKey: "bad", state: FAILED };
    const leased = { taskKey: "after", state: LEASED };
    const look = (...events: GraphEvent[]) => findDisorder(graph, events, new Set());
    expect(look(ended, leased)).toEqual([]);
    expect(look(leased, ended)).toEqual(["after was given out too early"]);
    const element = { taskKey: "map#0", state: LEASED };
    expect(look(element)).toEqual(["map#0 was given out too early"]);
    expect(findDisorder(graph, [element], new Set(["list"]))).toEqual([]);
    const [paused, resumed] = [JobState.PAUSED, JobState.RUNNING].map((state) => ({
      taskKey: "",
      state,
    })) as [GraphEvent, GraphEvent];
    expect(look(ended, paused, resumed, leased)).toEqual([]);
    expect(look(ended, paused, leased)).toEqual(["after was given out while the job was paused"]);
  });

  it("keeps what succeeded and stands on nothing that runs again", () => {
    const states = new Map(Object.entries(right));
    expect(keptOf(graph, states, undefined)).toEqual(["list", "map"]);
    expect(keptOf(graph, states, "list")).toEqual([]);
  });
});

describe("random graphs", () => {
  it("are the same for a seed, and name only parents that stand before", () => {
    const make = () => {
      const random = createRandom(7);
      return Array.from({ length: 50 }, () => newGraph(random, "plain"));
    };
    expect(make()).toEqual(make());
    for (const made of make()) {
      for (const [index, node] of made.entries()) {
        expect(node.parents.every(({ from }) => from < index)).toBe(true);
        expect(new Set(node.parents.map(({ from }) => from)).size).toBe(node.parents.length);
      }
    }
    const elements = make().flatMap((made) =>
      made.flatMap((node) => itemsOf(made, node).map((_fate, index) => elementKey(node, index))),
    );
    expect(elements.length).toBeGreaterThan(0);
  });
});
