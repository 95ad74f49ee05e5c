import { JobState, TaskState } from "@nexus/proto/orchestrator";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { expectError } from "./_expect.ts";
import { Harness, text } from "./_harness.ts";

const harness = new Harness();
beforeAll(() => harness.open({ waitingTasksMax: 500 }));
afterAll(() => harness.close());

const ONE = [{ key: "a", capability: "none" }];

describe("SubmitJob", () => {
  it("answers with the job as committed", async () => {
    const { job } = await harness.client.submitJob({
      requestId: "first",
      objective: "do it",
      priority: 7,
      labels: { team: "x" },
      tasks: [
        { key: "a", capability: "none" },
        { key: "b", capability: "none", dependencies: [{ taskKey: "a" }] },
      ],
    });
    expect(job).toMatchObject({
      namespace: "default",
      principalId: "alice",
      objective: "do it",
      state: JobState.PENDING,
      priority: 7,
      labels: { team: "x" },
      tasks: { total: 2, ready: 1, blocked: 1 },
    });
    const { job: again } = await harness.client.getJob({ jobId: job?.jobId ?? "" });
    expect(again).toEqual(job);
  });

  it("answers a repeated request with the first job, whatever the order of its labels", async () => {
    const request = { requestId: "twice", objective: "x", tasks: ONE };
    const first = await harness.client.submitJob({ ...request, labels: { a: "1", b: "2" } });
    const second = await harness.client.submitJob({ ...request, labels: { b: "2", a: "1" } });
    expect(second.job?.jobId).toBe(first.job?.jobId);
  });

  it("makes one job of the same request sent many times at once", async () => {
    const calls = Array.from({ length: 20 }, () =>
      harness.client.submitJob({ requestId: "burst", tasks: ONE }),
    );
    const ids = (await Promise.all(calls)).map(({ job }) => job?.jobId);
    expect(new Set(ids).size).toBe(1);
  });

  it("refuses a request id with another body", async () => {
    await harness.client.submitJob({ requestId: "reused", tasks: ONE });
    for (const change of [
      { tasks: [{ key: "b", capability: "none" }] },
      { tasks: ONE, priority: 1 },
      { tasks: [{ key: "a", capability: "none", input: text("x") }] },
    ]) {
      await expectError(
        harness.client.submitJob({ requestId: "reused", ...change }),
        "conflict",
        "REQUEST_ID_REUSED",
      );
    }
  });

  it("keeps request ids of callers and namespaces apart", async () => {
    const bob = await harness.clientOf("bob");
    const stranger = await harness.clientOf("alice", { ns: "other" });
    const request = { requestId: "shared", tasks: ONE };
    const ids = [
      (await harness.client.submitJob(request)).job?.jobId,
      (await bob.submitJob(request)).job?.jobId,
      (await stranger.submitJob(request)).job?.jobId,
    ];
    expect(new Set(ids).size).toBe(3);
  });

  it("refuses a caller without the scope", async () => {
    const reader = await harness.clientOf("reader", { scopes: ["orchestrator:job:read"] });
    await expectError(
      reader.submitJob({ requestId: "x", tasks: ONE }),
      "forbidden",
      "SCOPE_MISSING",
    );
  });

  const refused: readonly [string, object, string][] = [
    ["no tasks and no objective", {}, "OBJECTIVE_MISSING"],
    ["input beside tasks", { tasks: ONE, input: text("x") }, "INPUT_NOT_ALLOWED"],
    ["a key twice", { tasks: [...ONE, ...ONE] }, "TASK_KEY_DUPLICATE"],
    [
      "an unknown dependency",
      { tasks: [{ key: "a", capability: "none", dependencies: [{ taskKey: "z" }] }] },
      "DEPENDENCY_UNKNOWN",
    ],
    [
      "a cycle",
      {
        tasks: [
          { key: "a", capability: "none", dependencies: [{ taskKey: "b" }] },
          { key: "b", capability: "none", dependencies: [{ taskKey: "a" }] },
        ],
      },
      "GRAPH_CYCLE",
    ],
    [
      "a version range that is none",
      { tasks: [{ key: "a", capability: "none", versionRange: "latest!" }] },
      "VERSION_RANGE_INVALID",
    ],
    ["a NUL character", { tasks: ONE, objective: "a\u0000b" }, "TEXT_NOT_STORABLE"],
    [
      "a planner's input that does not fit",
      { objective: "x", input: { data: new Uint8Array(200 * 1024) } },
      "PLAN_INPUT_TOO_LARGE",
    ],
    ["a key with a bad form", { tasks: [{ key: "-", capability: "none" }] }, "REQUEST_INVALID"],
    ["too high a priority", { tasks: ONE, priority: 101 }, "REQUEST_INVALID"],
  ];
  for (const [what, request, reason] of refused) {
    it(`refuses ${what} with field violations, and stores nothing`, async () => {
      const before = await harness.count("jobs");
      const call = harness.client.submitJob({
        requestId: `bad-${reason}-${what}`.slice(0, 64),
        ...request,
      });
      const error = await expectError(call, "invalid", reason);
      expect(error.details.fieldViolations?.length).toBeGreaterThan(0);
      expect(await harness.count("jobs")).toBe(before);
    });
  }

  it("refuses more waiting tasks than the limit, with a time to come back, and takes fewer", async () => {
    const tasks = Array.from({ length: 501 }, (_, i) => ({ key: `t${i}`, capability: "none" }));
    const error = await expectError(
      harness.client.submitJob({ requestId: "full", tasks }),
      "exhausted",
      "QUEUE_FULL",
    );
    expect(error.details.retryAfterMs).toBeGreaterThan(0);
    await harness.client.submitJob({ requestId: "fits", tasks: ONE });
  });

  it("keeps the spec as submitted", async () => {
    const jobId = await harness.submit({
      tasks: [
        {
          key: "full",
          capability: "none",
          versionRange: "^1.0.0",
          input: text("in"),
          requiredLabels: { gpu: "a100" },
          preferredLabels: { zone: "eu" },
          priority: 5,
          retry: { maxAttempts: 7, nonRetryableReasons: ["QUOTA"] },
          startToCloseTimeout: { seconds: 9n },
        },
        { key: "bare", capability: "none" },
      ],
    });
    const { full, bare } = await harness.tasksOf(jobId);
    expect(full).toMatchObject({
      state: TaskState.READY,
      spec: {
        versionRange: "^1.0.0",
        requiredLabels: { gpu: "a100" },
        preferredLabels: { zone: "eu" },
        priority: 5,
        retry: { maxAttempts: 7, nonRetryableReasons: ["QUOTA"], multiplier: 2 },
        startToCloseTimeout: { seconds: 9n },
      },
    });
    expect(full?.spec?.input).toBeUndefined();
    expect(bare?.spec).toMatchObject({ versionRange: "" });
    expect(bare?.spec?.retry).toBeUndefined();
    expect(bare?.spec?.startToCloseTimeout).toBeUndefined();
  });
});
