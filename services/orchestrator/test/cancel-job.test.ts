import { TaskUpdateOutcome } from "@nexus/proto/mesh";
import { JobState, TaskState } from "@nexus/proto/orchestrator";
import { waitFor } from "@nexus/testkit";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { expectError } from "./_expect.ts";
import { Harness } from "./_harness.ts";
import { begin } from "./_router.ts";

const harness = new Harness();
beforeAll(async () => {
  await harness.open();
  harness.agent({ agentId: "busy", capabilities: ["busy"], slots: 1, behaviour: begin });
});
afterAll(() => harness.close());

async function runningJob(): Promise<string> {
  const jobId = await harness.submit({
    tasks: [
      { key: "a", capability: "busy" },
      { key: "b", capability: "busy" },
      { key: "c", capability: "busy", dependencies: [{ taskKey: "a" }] },
    ],
  });
  await waitFor(async () => (await harness.tasksOf(jobId))["a"]?.state === TaskState.RUNNING, {
    what: "the first task to run",
  });
  return jobId;
}

describe("CancelJob", () => {
  it("stops what runs, waits and is blocked, and tells the agent at once", async () => {
    const jobId = await runningJob();
    const running = harness.router.assignments.at(-1);
    const response = await harness.client.cancelJob({ requestId: "c1", jobId, reason: "enough" });
    const { job } = response;
    expect(response).toMatchObject({ neverStarted: 2, betweenAttempts: 0, toldToStop: 1 });
    expect(job).toMatchObject({
      state: JobState.CANCELLED,
      tasks: { total: 3, cancelled: 3 },
      failure: { reason: "JOB_CANCELLED", message: "enough" },
    });
    expect(job?.endTime).toBeDefined();
    await waitFor(
      () =>
        harness.router.cancels.some(
          ({ agentId, cancel }) =>
            agentId === "busy" &&
            cancel.fence === running?.assignment.fence &&
            cancel.reason === "JOB_CANCELLED",
        ),
      { what: "the agent to be told", timeoutMs: 1_000 },
    );
    const tasks = await harness.tasksOf(jobId);
    for (const key of ["a", "b", "c"]) {
      expect(tasks[key]).toMatchObject({
        state: TaskState.CANCELLED,
        fence: 0n,
        failure: { reason: "JOB_CANCELLED" },
      });
    }
    const { attempts } = await harness.client.explainTask({ taskId: tasks["a"]?.taskId ?? "" });
    expect(attempts).toMatchObject([{ outcome: "CANCELLED", charged: false }]);
    expect(await harness.count("ready")).toBe(0);
    expect(await harness.count("leases")).toBe(0);
  });

  it("makes a late result stale, frees the slot, and lets the next job run", async () => {
    const jobId = await runningJob();
    const received = harness.router.assignments.at(-1);
    if (received === undefined) throw new Error("no assignment");
    await harness.client.cancelJob({ requestId: "c2", jobId });
    harness.router.complete(received, "late");
    await waitFor(() => harness.router.outcomeOf(received) === TaskUpdateOutcome.STALE, {
      what: "STALE",
    });
    expect((await harness.client.getJob({ jobId })).job?.state).toBe(JobState.CANCELLED);
    const next = await runningJob();
    await harness.client.cancelJob({ requestId: "c3", jobId: next });
  });

  it("is idempotent, and refuses a request id with another body", async () => {
    const jobId = await harness.submit({ tasks: [{ key: "a", capability: "nobody" }] });
    const other = await harness.submit({ tasks: [{ key: "a", capability: "nobody" }] });
    const first = await harness.client.cancelJob({ requestId: "c4", jobId });
    const again = await harness.client.cancelJob({ requestId: "c4", jobId });
    const anew = await harness.client.cancelJob({ requestId: "c5", jobId, reason: "another" });
    expect(again).toEqual(first);
    expect(anew).toEqual(first);
    const reused = harness.client.cancelJob({ requestId: "c4", jobId: other });
    await expectError(reused, "conflict", "REQUEST_ID_REUSED");
    expect((await harness.client.getJob({ jobId: other })).job?.state).toBe(JobState.PENDING);
  });

  it("tells tasks between two attempts from those that never started", async () => {
    harness.agent({
      agentId: "failing",
      capabilities: ["failing"],
      behaviour: (received, router) => router.fail(received),
    });
    const jobId = await harness.submit({
      tasks: [
        { key: "tried", capability: "failing", retry: { initialDelay: { seconds: 3_600n } } },
        { key: "new", capability: "nobody" },
      ],
    });
    await waitFor(async () => (await harness.tasksOf(jobId))["tried"]?.failure !== undefined, {
      what: "the failed attempt",
    });
    const response = await harness.client.cancelJob({ requestId: "c7", jobId });
    expect(response).toMatchObject({ neverStarted: 1, betweenAttempts: 1, toldToStop: 0 });
    expect(await harness.client.cancelJob({ requestId: "c7", jobId })).toEqual(response);
  });

  it("leaves a completed job as it is", async () => {
    harness.agent({ agentId: "quick", capabilities: ["quick"] });
    const jobId = await harness.submit({ tasks: [{ key: "a", capability: "quick" }] });
    await harness.untilState(jobId, JobState.COMPLETED);
    const { job } = await harness.client.cancelJob({ requestId: "c6", jobId });
    expect(job?.state).toBe(JobState.COMPLETED);
    expect(job?.failure).toBeUndefined();
  });
});
