import { create, type MessageInitShape, toBinary, toJsonString } from "@bufbuild/protobuf";
import { timestampMs } from "@bufbuild/protobuf/wkt";
import { JobState, PlanSchema, TaskState } from "@nexus/proto/orchestrator";
import { waitFor } from "@nexus/testkit";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Harness, text, textOf } from "./_harness.ts";
import type { Received } from "./_router.ts";

const harness = new Harness();
let plan: { contentType: string; data: string | Uint8Array } = { contentType: "", data: "" };
const questions: Received[] = [];

beforeAll(async () => {
  await harness.open();
  harness.agent({
    agentId: "planner",
    capabilities: ["nexus.plan@1.0.0"],
    behaviour: (received, router) => {
      questions.push(received);
      router.accept(received);
      router.complete(received, plan.data as string, plan.contentType);
    },
  });
  harness.agent({ agentId: "worker", capabilities: ["work@1.4.0"] });
  await waitFor(
    async () => {
      const jobId = await harness.submit({ tasks: [{ key: "probe", capability: "work" }] });
      return harness.untilState(jobId, JobState.COMPLETED);
    },
    { what: "the worker" },
  );
});
afterAll(() => harness.close());

function binaryPlan(init: MessageInitShape<typeof PlanSchema>) {
  const data = toBinary(PlanSchema, create(PlanSchema, init));
  return { contentType: "application/protobuf", data };
}

function jsonPlan(init: MessageInitShape<typeof PlanSchema>) {
  const data = toJsonString(PlanSchema, create(PlanSchema, init));
  return { contentType: "application/json; charset=utf-8", data };
}

const ABSENT = { sha256: new Uint8Array(32).fill(7), sizeBytes: 300_000n };

const GOOD = {
  summary: "Works, then reports.",
  tasks: [
    { key: "w", capability: "work", versionRange: "^1.0.0", input: text("x") },
    { key: "r", capability: "work", dependencies: [{ taskKey: "w", inputName: "w" }] },
  ],
};

describe("an objective", () => {
  for (const [format, make] of [
    ["binary", binaryPlan],
    ["JSON", jsonPlan],
  ] as const) {
    it(`becomes the tasks of a plan in ${format}`, async () => {
      plan = make(GOOD);
      const { job: submitted } = await harness.client.submitJob({
        requestId: `plan-${format}`,
        objective: "report on it",
        input: text("material"),
        priority: 3,
      });
      expect(submitted).toMatchObject({
        state: JobState.PLANNING,
        tasks: { total: 1, active: 1 },
      });
      const jobId = submitted?.jobId ?? "";
      const job = await harness.untilState(jobId, JobState.COMPLETED);
      expect(job).toMatchObject({
        planSummary: "Works, then reports.",
        tasks: { total: 3, succeeded: 3 },
      });
      expect(Object.keys(job.results)).toEqual(["r"]);
      const { tasks } = await harness.client.listTasks({ jobId });
      expect(tasks.map((task) => [task.spec?.key, task.planning])).toEqual([
        ["nexus.plan", true],
        ["w", false],
        ["r", false],
      ]);
      for (const { createTime, readyTime } of tasks) {
        expect(timestampMs(readyTime as never)).toBeGreaterThanOrEqual(
          timestampMs(createTime as never),
        );
      }
    });
  }

  it("is put to the planner word for word, with the capabilities that are live", async () => {
    plan = binaryPlan(GOOD);
    const jobId = await harness.submit({ objective: "say it", input: text("material") });
    await harness.untilState(jobId, JobState.COMPLETED);
    const asked = questions.find((item) => item.assignment.jobId === jobId);
    expect(asked?.assignment.input?.contentType).toBe("application/json");
    expect(JSON.parse(textOf(asked?.assignment.input))).toEqual({
      objective: "say it",
      input: { contentType: "text/plain", data: Buffer.from("material").toString("base64") },
      capabilities: ["nexus.plan@1.0.0", "work@1.4.0"],
    });
    const { tasks } = await harness.client.listTasks({ jobId });
    const { task } = await harness.client.getTask({ taskId: tasks[0]?.taskId ?? "" });
    expect(JSON.parse(textOf(task?.spec?.input))).toMatchObject({ objective: "say it" });
  });

  it("is PLANNING while a planner has it", async () => {
    const agentId = "slow-planner";
    const ns = "planning";
    harness.peers.register({ agentId, namespace: ns, capabilities: ["nexus.plan@1.0.0"] });
    harness.router.connect(agentId, { namespace: ns, behaviour: () => undefined });
    const client = await harness.clientOf("alice", { ns });
    const { job } = await client.submitJob({ requestId: "slow", objective: "x" });
    const planning = await harness.untilState(job?.jobId ?? "", JobState.PLANNING, client);
    expect(planning.startTime).toBeDefined();
  });
});

describe("a plan", () => {
  const bad: readonly [string, () => typeof plan, RegExp][] = [
    [
      "of another content type",
      () => ({ contentType: "text/plain", data: "hello" }),
      /text\/plain/,
    ],
    ["that is no JSON", () => ({ contentType: "application/json", data: "{" }), /no Plan/],
    ["without tasks", () => jsonPlan({ tasks: [] }), /tasks/],
    [
      "with a key of a bad form",
      () => jsonPlan({ tasks: [{ key: "!", capability: "work" }] }),
      /key/,
    ],
    [
      "with a cycle",
      () =>
        binaryPlan({
          tasks: [
            { key: "a", capability: "work", dependencies: [{ taskKey: "b" }] },
            { key: "b", capability: "work", dependencies: [{ taskKey: "a" }] },
          ],
        }),
      /GRAPH_CYCLE/,
    ],
    [
      "that uses the planning task's key",
      () => binaryPlan({ tasks: [{ key: "nexus.plan", capability: "work" }] }),
      /TASK_KEY_DUPLICATE/,
    ],
    [
      "with a capability that no live agent has",
      () => binaryPlan({ tasks: [{ key: "a", capability: "magic" }] }),
      /no live agent has magic/,
    ],
    [
      "with a version that no live agent has",
      () => binaryPlan({ tasks: [{ key: "a", capability: "work", versionRange: "^2.0.0" }] }),
      /no live agent has work@\^2\.0\.0/,
    ],
    [
      "with an input that is not stored",
      () => jsonPlan({ tasks: [{ key: "a", capability: "work", input: { reference: ABSENT } }] }),
      /not stored/,
    ],
    [
      "with an input that is there twice",
      () => {
        const input = { reference: ABSENT, data: new Uint8Array(1) };
        return jsonPlan({ tasks: [{ key: "a", capability: "work", input }] });
      },
      /not both/,
    ],
    [
      "with text that cannot be stored",
      () => jsonPlan({ tasks: [{ key: "a", capability: "work" }], summary: "a\u0000b" }),
      /NUL/,
    ],
  ];
  for (const [what, make, message] of bad) {
    it(`${what} is rejected, is not asked for again, and leaves no task behind`, async () => {
      plan = make();
      const jobId = await harness.submit({ objective: "x" });
      const job = await harness.untilState(jobId, JobState.FAILED);
      expect(job.failure).toMatchObject({ reason: "PLAN_REJECTED", taskKey: "nexus.plan" });
      expect(job.failure?.message).toMatch(message);
      const { tasks } = await harness.client.listTasks({ jobId });
      expect(tasks).toMatchObject([{ state: TaskState.FAILED, attempts: 1, planning: true }]);
    });
  }

  it("may have several problems, and each is named", async () => {
    plan = binaryPlan({
      tasks: [
        { key: "a", capability: "magic" },
        { key: "b", capability: "work", dependencies: [{ taskKey: "z" }] },
      ],
    });
    const jobId = await harness.submit({ objective: "x" });
    const job = await harness.untilState(jobId, JobState.FAILED);
    expect(job.failure?.message).toMatch(/DEPENDENCY_UNKNOWN.*no live agent has magic/);
  });
});
