import { describe, expect, it } from "vitest";
import { type PriorTask, planReplay, planRetry, redoneTasks } from "./generation.ts";
import { DEFAULT_RETRY, type Dependency } from "./task.ts";
import type { TaskState } from "./task-state.ts";

function prior(key: string, state: TaskState, parents: (string | Dependency)[] = []): PriorTask {
  return {
    taskId: `old-${key}`,
    outputId: `out-${key}`,
    ordinal: 0,
    planning: key === "nexus.plan",
    state,
    spec: {
      key,
      capability: "x",
      versionRange: "",
      dependencies: parents.map((parent) =>
        typeof parent === "string" ? { taskKey: parent, inputName: parent } : parent,
      ),
      requiredLabels: {},
      preferredLabels: {},
      priority: 1,
      retry: DEFAULT_RETRY,
      startToCloseMs: 1_000,
      scheduleToStartMs: 1_000,
    },
  };
}

function keys(tasks: readonly PriorTask[]): string[] {
  return tasks.map((task) => task.spec.key);
}

const GRAPH = [
  prior("a", "SUCCEEDED"),
  prior("b", "SUCCEEDED", ["a"]),
  prior("c", "FAILED", ["a"]),
  prior("d", "SKIPPED", ["c", "b"]),
  prior("e", "SUCCEEDED", [{ taskKey: "c", inputName: "c", onFailure: "CONTINUE" }]),
];

describe("planRetry", () => {
  it("keeps what succeeded, unless it stands on what runs again", () => {
    const { kept, redone } = planRetry(GRAPH);
    expect(keys(kept)).toEqual(["a", "b"]);
    expect(keys(redone)).toEqual(["c", "d", "e"]);
  });

  it("plans anew when the planner failed, without the tasks of an older plan", () => {
    const { kept, redone } = planRetry([prior("nexus.plan", "FAILED"), prior("a", "SKIPPED")]);
    expect(kept).toEqual([]);
    expect(keys(redone)).toEqual(["nexus.plan"]);
  });

  it("keeps a plan whose tasks failed", () => {
    const { kept, redone } = planRetry([prior("nexus.plan", "SUCCEEDED"), prior("a", "FAILED")]);
    expect(keys(kept)).toEqual(["nexus.plan"]);
    expect(keys(redone)).toEqual(["a"]);
  });
});

describe("planReplay", () => {
  it("runs the task, all behind it, and what had not succeeded", () => {
    const { kept, redone } = planReplay(GRAPH, "b");
    expect(keys(kept)).toEqual(["a"]);
    expect(keys(redone)).toEqual(["b", "c", "d", "e"]);
  });
});

describe("redoneTasks", () => {
  it("waits for what runs again and takes the rest from where it is", () => {
    let made = 0;
    const home = { jobId: "job", namespace: "ns", priority: 10 };
    const tasks = redoneTasks(planRetry(GRAPH), home, () => {
      made += 1;
      return `new-${made}`;
    });
    expect(
      tasks.map(({ taskId, pending, sink, priority }) => [taskId, pending, sink, priority]),
    ).toEqual([
      ["new-1", 0, false, 11],
      ["new-2", 1, true, 11],
      ["new-3", 1, true, 11],
    ]);
    expect(
      tasks.map(({ parents }) => parents.map((edge) => [edge.parentId, edge.onFailure])),
    ).toEqual([
      [["out-a", "FAIL"]],
      [
        ["new-1", "FAIL"],
        ["out-b", "FAIL"],
      ],
      [["new-1", "CONTINUE"]],
    ]);
  });
});
