import { describe, expect, it } from "vitest";
import { findGraphProblems } from "./graph.ts";
import { GRAPH_DEPTH_MAX, GRAPH_FAN_OUT_MAX, JOB_TASKS_MAX } from "./limits.ts";

interface Edge {
  readonly taskKey: string;
  readonly inputName: string;
}

function task(key: string, ...parents: (string | Edge)[]) {
  const dependencies = parents.map((parent) =>
    typeof parent === "string" ? { taskKey: parent, inputName: "" } : parent,
  );
  return { key, versionRange: "", dependencies };
}

function chain(length: number) {
  return Array.from({ length }, (_, i) => (i === 0 ? task("t0") : task(`t${i}`, `t${i - 1}`)));
}

function fan(width: number) {
  return [task("root"), ...Array.from({ length: width }, (_, i) => task(`c${i}`, "root"))];
}

/** Each row: what, the tasks, the reasons and fields expected. */
const CASES: readonly [string, ReturnType<typeof task>[], readonly [string, string][]][] = [
  ["a single task", [task("a")], []],
  ["a diamond", [task("a"), task("b", "a"), task("c", "a"), task("d", "b", "c")], []],
  ["tasks in any order", [task("b", "a"), task("a")], []],
  ["a duplicate key", [task("a"), task("b"), task("a")], [["TASK_KEY_DUPLICATE", "tasks[2].key"]]],
  [
    "an unknown dependency",
    [task("a", "ghost")],
    [["DEPENDENCY_UNKNOWN", "tasks[0].dependencies[0].task_key"]],
  ],
  ["a task that waits for itself", [task("a", "a")], [["GRAPH_CYCLE", "tasks[0]"]]],
  ["a cycle of two", [task("a", "b"), task("b", "a")], [["GRAPH_CYCLE", "tasks[1]"]]],
  [
    "a cycle behind an entry",
    [task("x"), task("a", "x", "c"), task("b", "a"), task("c", "b")],
    [["GRAPH_CYCLE", "tasks[2]"]],
  ],
  ["a chain of the limit", chain(GRAPH_DEPTH_MAX), []],
  [
    "a chain beyond the limit",
    chain(GRAPH_DEPTH_MAX + 1),
    [["GRAPH_TOO_DEEP", `tasks[${GRAPH_DEPTH_MAX}]`]],
  ],
  ["a fan of the limit", fan(GRAPH_FAN_OUT_MAX), []],
  ["a fan beyond the limit", fan(GRAPH_FAN_OUT_MAX + 1), [["GRAPH_TOO_WIDE", "tasks[0]"]]],
  [
    "two inputs of one name",
    [
      task("a"),
      task("b"),
      task("c", { taskKey: "a", inputName: "in" }, { taskKey: "b", inputName: "in" }),
    ],
    [["INPUT_NAME_DUPLICATE", "tasks[2].dependencies[1].input_name"]],
  ],
  ["two order-only edges to one task", [task("a"), task("b", "a", "a")], []],
];

describe("findGraphProblems", () => {
  for (const [what, tasks, expected] of CASES) {
    it(`judges ${what}`, () => {
      const found = findGraphProblems(tasks).map(({ reason, field }) => [reason, field]);
      expect(found).toEqual(expected);
    });
  }

  it("names the tasks of a cycle in order", () => {
    const [problem] = findGraphProblems([task("a", "c"), task("b", "a"), task("c", "b")]);
    expect(problem?.description).toMatch(/: (a -> b -> c -> a|b -> c -> a -> b|c -> a -> b -> c)$/);
  });

  it("refuses a version range that is none", () => {
    const problems = findGraphProblems([{ ...task("a"), versionRange: "not a range" }]);
    expect(problems).toMatchObject([
      { reason: "VERSION_RANGE_INVALID", field: "tasks[0].version_range" },
    ]);
  });

  it("reports several problems at once, but a bounded number", () => {
    const many = Array.from({ length: 1_000 }, () => task("same"));
    expect(findGraphProblems(many)).toHaveLength(64);
  });

  it("refuses a key that the job uses already", () => {
    expect(findGraphProblems([task("plan")], new Set(["plan"]))).toHaveLength(1);
  });

  it("admits a job of the largest size in reasonable time", () => {
    const tasks = Array.from({ length: JOB_TASKS_MAX }, (_, i) =>
      i < 100 ? task(`t${i}`) : task(`t${i}`, `t${i % 100}`, `t${(i * 7) % 100}`),
    );
    // CPU time: a machine that is busy with something else takes longer by the clock.
    const before = process.cpuUsage();
    expect(findGraphProblems(tasks)).toEqual([]);
    const { user, system } = process.cpuUsage(before);
    expect((user + system) / 1_000).toBeLessThan(1_000);
  });
});
