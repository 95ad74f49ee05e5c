import { EdgePolicy, JobState, TaskState } from "@nexus/proto/orchestrator";
import { waitFor } from "@nexus/testkit";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { expectError } from "./_expect.ts";
import { Harness, textOf } from "./_harness.ts";
import { type Behaviour, echo, type Received } from "./_router.ts";

const { FAIL, SKIP, CONTINUE } = EdgePolicy;

/** Tasks whose key begins with `bad` fail for good, those with `held` wait for the test. */
const byKey: Behaviour = (received, router) => {
  const { taskKey } = received.assignment;
  if (taskKey.startsWith("bad")) router.fail(received, "BAD_INPUT", { retryable: false });
  else if (taskKey.startsWith("held")) held.push(received);
  else echo(received, router);
};
const held: Received[] = [];

const harness = new Harness();
beforeAll(async () => {
  await harness.open();
  harness.agent({ agentId: "any", capabilities: ["x"], slots: 20, behaviour: byKey });
});
afterAll(() => harness.close());

type Edges = Record<string, EdgePolicy>;

function task(key: string, edges: Edges = {}) {
  const dependencies = Object.entries(edges).map(([taskKey, onFailure]) => ({
    taskKey,
    inputName: taskKey,
    onFailure,
  }));
  return { key, capability: "x", dependencies };
}

async function statesOf(jobId: string): Promise<Record<string, string>> {
  const tasks = Object.entries(await harness.tasksOf(jobId));
  return Object.fromEntries(tasks.map(([key, { state }]) => [key, TaskState[state]]));
}

describe("an edge that says CONTINUE", () => {
  it("lets the task run without the input, and the job ends PARTIAL with results", async () => {
    const jobId = await harness.submit({
      tasks: [
        task("good"),
        task("bad"),
        task("sum", { good: FAIL, bad: CONTINUE }),
        task("other", { bad: SKIP }),
      ],
    });
    const job = await harness.untilState(jobId, JobState.PARTIAL);
    expect(await statesOf(jobId)).toEqual({
      good: "SUCCEEDED",
      bad: "FAILED",
      sum: "SUCCEEDED",
      other: "SKIPPED",
    });
    const sum = harness.router.assignments.find(
      ({ assignment }) => assignment.jobId === jobId && assignment.taskKey === "sum",
    );
    expect(Object.keys(sum?.assignment.upstream ?? {})).toEqual(["good"]);
    expect(job.failure).toMatchObject({ reason: "BAD_INPUT", taskKey: "bad" });
    expect(Object.keys(job.results)).toEqual(["sum"]);
    expect(textOf(job.results["sum"])).toBe("sum:");
    expect(job.endTime).toBeDefined();
  });

  it("runs a task behind a skipped one, though not before all others have ended", async () => {
    const jobId = await harness.submit({
      tasks: [
        task("bad"),
        task("held"),
        task("skipped", { bad: SKIP }),
        task("last", { skipped: CONTINUE, held: FAIL }),
      ],
    });
    await waitFor(async () => (await statesOf(jobId))["skipped"] === "SKIPPED", {
      what: "the skip",
    });
    const received = await waitFor(
      () => held.find(({ assignment }) => assignment.jobId === jobId),
      { what: "the held task" },
    );
    expect(await statesOf(jobId)).toMatchObject({ last: "BLOCKED" });
    harness.router.complete(received, "done");
    const job = await harness.untilState(jobId, JobState.PARTIAL);
    expect(job.tasks).toMatchObject({ total: 4, succeeded: 2, failed: 1, skipped: 1 });
  });

  it("runs a task whose parent found no agent in time", async () => {
    const lonely = {
      ...task("lonely"),
      capability: "nobody",
      scheduleToStartTimeout: { nanos: 100_000_000 },
    };
    const jobId = await harness.submit({ tasks: [lonely, task("sum", { lonely: CONTINUE })] });
    await harness.untilState(jobId, JobState.PARTIAL);
  });

  it("does not run a task that another edge skips", async () => {
    const jobId = await harness.submit({
      tasks: [task("bad-1"), task("bad-2"), task("child", { "bad-1": CONTINUE, "bad-2": SKIP })],
    });
    const job = await harness.untilState(jobId, JobState.FAILED);
    expect(await statesOf(jobId)).toMatchObject({ child: "SKIPPED" });
    expect(job.results).toEqual({});
  });
});

describe("the end of a job", () => {
  const cases: readonly [string, JobState, ReturnType<typeof task>[]][] = [
    ["a failed task without edges", JobState.FAILED, [task("ok"), task("bad")]],
    [
      "one edge of several that says FAIL",
      JobState.FAILED,
      [task("bad"), task("a", { bad: CONTINUE }), task("b", { bad: FAIL })],
    ],
    [
      "edges that name no policy",
      JobState.FAILED,
      [task("ok"), task("bad"), task("a", { bad: EdgePolicy.UNSPECIFIED })],
    ],
    [
      "tolerated failures without any result",
      JobState.FAILED,
      [task("bad"), task("a", { bad: SKIP })],
    ],
    [
      "a second failure that is not tolerated",
      JobState.FAILED,
      [task("bad-1"), task("a", { "bad-1": CONTINUE }), task("bad-2")],
    ],
    [
      "a tolerated failure behind which FAIL edges follow",
      JobState.PARTIAL,
      [task("ok"), task("bad"), task("a", { bad: SKIP }), task("b", { a: FAIL })],
    ],
    [
      "policies that nothing asked for",
      JobState.COMPLETED,
      [task("ok"), task("a", { ok: SKIP }), task("b", { ok: CONTINUE })],
    ],
  ];
  for (const [what, state, tasks] of cases) {
    it(`is ${JobState[state]} for ${what}`, async () => {
      const jobId = await harness.submit({ tasks });
      await harness.untilState(jobId, state);
    });
  }

  it("counts the policies of a plan", async () => {
    const plan = JSON.stringify({
      tasks: [
        { key: "bad", capability: "x" },
        {
          key: "sum",
          capability: "x",
          dependencies: [{ taskKey: "bad", onFailure: "EDGE_POLICY_CONTINUE" }],
        },
      ],
    });
    harness.agent({
      agentId: "planner",
      capabilities: ["nexus.plan"],
      behaviour: (received, router) => router.complete(received, plan, "application/json"),
    });
    const jobId = await harness.submit({ objective: "try" });
    await harness.untilState(jobId, JobState.PARTIAL);
  });
});

describe("PARTIAL", () => {
  it("is listed, watched to its end, and shown in the spec of its tasks", async () => {
    const tasks = [task("bad"), task("sum", { bad: CONTINUE })];
    const jobId = await harness.submit({ tasks, labels: { of: "partial" } });
    const seen: string[] = [];
    for await (const { events } of harness.client.watchJob({ jobId })) {
      for (const { event } of events) {
        if (event.case === "jobChanged") seen.push(JobState[event.value.state]);
      }
    }
    expect(seen).toEqual(["PENDING", "RUNNING", "PARTIAL"]);
    const { jobs } = await harness.client.listJobs({
      states: [JobState.PARTIAL],
      labels: { of: "partial" },
    });
    expect(jobs.map((job) => job.jobId)).toEqual([jobId]);
    const { sum } = await harness.tasksOf(jobId);
    expect(sum?.spec?.dependencies).toMatchObject([{ taskKey: "bad", onFailure: CONTINUE }]);
  });

  it("is not reached by a policy that does not exist", async () => {
    const tasks = [task("ok"), task("a", { ok: 9 as EdgePolicy })];
    await expectError(harness.submit({ tasks }), "invalid", "REQUEST_INVALID");
  });
});
