import { TaskUpdateOutcome } from "@nexus/proto/mesh";
import { EdgePolicy, JobState, TaskState } from "@nexus/proto/orchestrator";
import { waitFor } from "@nexus/testkit";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Harness } from "./_harness.ts";
import { type Behaviour, begin, type Received } from "./_router.ts";

const running: Received[] = [];
const keep: Behaviour = (received, router) => {
  begin(received, router);
  running.push(received);
};

const harness = new Harness();
beforeAll(async () => {
  await harness.open();
  harness.agent({ agentId: "keeper", capabilities: ["x"], slots: 10, behaviour: keep });
});
afterAll(() => harness.close());

function held(jobId: string, taskKey: string): Received {
  const found = running.find(
    ({ assignment }) => assignment.jobId === jobId && assignment.taskKey === taskKey,
  );
  if (found === undefined) throw new Error(`${taskKey} does not run`);
  return found;
}

async function untilRunning(jobId: string, count: number): Promise<void> {
  await waitFor(
    () => running.filter(({ assignment }) => assignment.jobId === jobId).length === count,
    { what: `${count} running tasks` },
  );
}

describe("a task that cancels its siblings", () => {
  it("stops what runs, waits and is blocked when it fails for good, within a second", async () => {
    const jobId = await harness.submit({
      tasks: [
        { key: "vital", capability: "x", cancelSiblingsOnFailure: true },
        { key: "running", capability: "x" },
        { key: "done", capability: "x" },
        { key: "waiting", capability: "nobody" },
        { key: "behind", capability: "x", dependencies: [{ taskKey: "vital" }] },
        { key: "blocked", capability: "x", dependencies: [{ taskKey: "running" }] },
      ],
    });
    await untilRunning(jobId, 3);
    harness.router.complete(held(jobId, "done"), "fine");
    await waitFor(
      async () => (await harness.tasksOf(jobId))["done"]?.state === TaskState.SUCCEEDED,
      {
        what: "the first result",
      },
    );
    harness.router.fail(held(jobId, "vital"), "BROKEN", { retryable: false });
    const { fence } = held(jobId, "running").assignment;
    await waitFor(
      () =>
        harness.router.cancels.some(
          ({ agentId, cancel }) =>
            agentId === "keeper" && cancel.fence === fence && cancel.reason === "SIBLING_FAILED",
        ),
      { what: "the agent to be told", timeoutMs: 1_000 },
    );
    const job = await harness.untilState(jobId, JobState.FAILED);
    expect(job.failure).toMatchObject({ reason: "BROKEN", taskKey: "vital" });
    expect(job.tasks).toMatchObject({
      total: 6,
      failed: 1,
      succeeded: 1,
      cancelled: 4,
      skipped: 0,
    });
    const tasks = await harness.tasksOf(jobId);
    for (const key of ["running", "waiting", "behind", "blocked"]) {
      expect(tasks[key]).toMatchObject({
        state: TaskState.CANCELLED,
        fence: 0n,
        failure: { reason: "SIBLING_FAILED", taskKey: "vital" },
      });
    }
    harness.router.complete(held(jobId, "running"), "late");
    await waitFor(
      () => harness.router.outcomeOf(held(jobId, "running")) === TaskUpdateOutcome.STALE,
      { what: "STALE" },
    );
    expect(await harness.count("ready")).toBe(0);
    expect(await harness.count("leases")).toBe(0);
  });

  it("waits for its last attempt, and takes a sibling along that was to be tried again", async () => {
    const jobId = await harness.submit({
      tasks: [
        { key: "vital", capability: "x", cancelSiblingsOnFailure: true },
        { key: "flaky", capability: "x" },
      ].map((task) => ({ ...task, retry: { initialDelay: { nanos: 1_000_000 }, maxAttempts: 2 } })),
    });
    await untilRunning(jobId, 2);
    harness.router.fail(held(jobId, "vital"));
    await untilRunning(jobId, 3);
    const second = running.at(-1);
    if (second === undefined) throw new Error("no second attempt");
    // One frame, so one batch: the sibling goes back to the queue and is cancelled in one transaction.
    harness.router.fail(held(jobId, "flaky"));
    harness.router.fail(second);
    await harness.untilState(jobId, JobState.FAILED);
    const { flaky, vital } = await harness.tasksOf(jobId);
    expect(vital?.state).toBe(TaskState.FAILED);
    expect(flaky).toMatchObject({ state: TaskState.CANCELLED, attempts: 1 });
    const next = await harness.submit({ tasks: [{ key: "next", capability: "x" }] });
    await untilRunning(next, 1);
    const runs = running.filter(({ assignment }) => assignment.jobId === jobId);
    expect(runs).toHaveLength(3);
    await harness.client.cancelJob({ requestId: next, jobId: next });
  });

  it("does so too when it finds no agent in time, and no edge tolerates it", async () => {
    const jobId = await harness.submit({
      tasks: [
        {
          key: "vital",
          capability: "nobody",
          cancelSiblingsOnFailure: true,
          scheduleToStartTimeout: { nanos: 100_000_000 },
        },
        { key: "running", capability: "x" },
        {
          key: "behind",
          capability: "x",
          dependencies: [{ taskKey: "vital", onFailure: EdgePolicy.CONTINUE }],
        },
      ],
    });
    const job = await harness.untilState(jobId, JobState.FAILED);
    expect(job.tasks).toMatchObject({ failed: 1, cancelled: 2 });
    const { vital } = await harness.tasksOf(jobId);
    expect(vital?.spec?.cancelSiblingsOnFailure).toBe(true);
  });

  it("leaves the job alone when it succeeds or is merely retried", async () => {
    const jobId = await harness.submit({
      tasks: [
        { key: "vital", capability: "x", cancelSiblingsOnFailure: true },
        { key: "other", capability: "x" },
      ],
    });
    await untilRunning(jobId, 2);
    harness.router.release(held(jobId, "vital"));
    await untilRunning(jobId, 3);
    for (const received of running.filter(({ assignment }) => assignment.jobId === jobId)) {
      harness.router.complete(received, "fine");
    }
    await harness.untilState(jobId, JobState.COMPLETED);
  });

  it("fails a job whose only result came before, whatever its edges say", async () => {
    const jobId = await harness.submit({
      tasks: [
        { key: "vital", capability: "x", cancelSiblingsOnFailure: true },
        { key: "result", capability: "x" },
        {
          key: "behind",
          capability: "x",
          dependencies: [{ taskKey: "vital", onFailure: EdgePolicy.SKIP }],
        },
      ],
    });
    await untilRunning(jobId, 2);
    harness.router.complete(held(jobId, "result"), "fine");
    harness.router.fail(held(jobId, "vital"), "BROKEN", { retryable: false });
    await harness.untilState(jobId, JobState.FAILED);
  });
});
