import { SessionState, TaskUpdateOutcome } from "@nexus/proto/mesh";
import { JobState, TaskState } from "@nexus/proto/orchestrator";
import { waitFor } from "@nexus/testkit";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { expectError } from "./_expect.ts";
import { Harness, textOf } from "./_harness.ts";
import { type Behaviour, begin, echo, type Received } from "./_router.ts";

const harness = new Harness();
beforeAll(() => harness.open());
afterAll(() => harness.close());

const HEARTBEAT_MS = 600;
const HEARTBEAT = { nanos: HEARTBEAT_MS * 1e6 };
const FAST_RETRY = { initialDelay: { nanos: 1_000_000 } };

function untilCancelled({ assignment }: Received, reason: string) {
  return waitFor(
    () =>
      harness.router.cancels.find(
        ({ cancel }) =>
          cancel.taskId === assignment.taskId &&
          cancel.fence === assignment.fence &&
          cancel.reason === reason,
      ),
    { what: `a cancel for ${reason}` },
  );
}

async function untilStale(received: Received): Promise<void> {
  const outcome = await waitFor(() => harness.router.outcomeOf(received), { what: "an answer" });
  expect(outcome).toBe(TaskUpdateOutcome.STALE);
}

/** Repeats a word until this long has gone by. */
async function repeatFor(ms: number, say: () => void): Promise<void> {
  const endAtMs = performance.now() + ms;
  await waitFor(
    () => {
      say();
      return performance.now() >= endAtMs;
    },
    { what: `${ms} ms to go by` },
  );
}

describe("heartbeat_timeout", () => {
  it("ends a silent attempt, which is charged, and tells its agent to stop", async () => {
    const once: Behaviour = (received, router) => {
      if (received.assignment.attempt === 1) router.accept(received);
      else echo(received, router);
    };
    harness.agent({ agentId: "mute", capabilities: ["mute"], behaviour: once });
    const task = { key: "a", capability: "mute", heartbeatTimeout: HEARTBEAT, retry: FAST_RETRY };
    const jobId = await harness.submit({ tasks: [task] });
    const first = await harness.assignmentOf(jobId);
    await untilCancelled(first, "HEARTBEAT_TIMEOUT");
    const job = await harness.untilState(jobId, JobState.COMPLETED);
    const explained = await harness.attemptsOf(jobId);
    expect(explained.task).toMatchObject({ attempts: 2, chargedAttempts: 2 });
    expect(explained.attempts[0]).toMatchObject({
      outcome: "FAILED",
      charged: true,
      failure: { reason: "HEARTBEAT_TIMEOUT" },
    });
    harness.router.complete(first, "too late");
    await untilStale(first);
    expect(textOf(job.results["a"])).toBe("a:");
  });

  it("does not end an attempt whose agent goes on saying something", async () => {
    harness.agent({ agentId: "chatty", capabilities: ["chatty"], behaviour: begin });
    const task = { key: "a", capability: "chatty", heartbeatTimeout: HEARTBEAT };
    const jobId = await harness.submit({ tasks: [task] });
    const received = await harness.assignmentOf(jobId);
    await repeatFor(2 * HEARTBEAT_MS, () => harness.router.progress(received, 0.5));
    let sequence = 0n;
    await repeatFor(2 * HEARTBEAT_MS, () => {
      sequence += 1n;
      harness.router.chunk(received, sequence, "x");
    });
    harness.router.complete(received, "done");
    await harness.untilState(jobId, JobState.COMPLETED);
    expect((await harness.attemptsOf(jobId)).attempts).toHaveLength(1);
  });

  it("does not count the time in which the session is away, and counts anew when it is back", async () => {
    harness.agent({ agentId: "tunnel", capabilities: ["tunnel"], behaviour: begin });
    const task = { key: "a", capability: "tunnel", heartbeatTimeout: HEARTBEAT, retry: FAST_RETRY };
    const jobId = await harness.submit({ tasks: [task] });
    const received = await harness.assignmentOf(jobId);
    harness.router.setState("tunnel", SessionState.DETACHED);
    await repeatFor(3 * HEARTBEAT_MS, () => undefined);
    expect((await harness.attemptsOf(jobId)).attempts).toHaveLength(1);
    harness.router.setState("tunnel", SessionState.CONNECTED);
    await untilCancelled(received, "HEARTBEAT_TIMEOUT");
  });

  it("is refused when shorter than the contract allows", async () => {
    const heartbeatTimeout = { nanos: 1_000_000 };
    const call = harness.submit({ tasks: [{ key: "a", capability: "mute", heartbeatTimeout }] });
    await expectError(call, "invalid", "REQUEST_INVALID");
  });
});

describe("schedule_to_close_timeout", () => {
  it("fails a task that runs for good, cancels its attempt, and skips what waits for it", async () => {
    harness.agent({ agentId: "endless", capabilities: ["endless"], behaviour: begin });
    const jobId = await harness.submit({
      tasks: [
        { key: "a", capability: "endless", scheduleToCloseTimeout: { nanos: 500_000_000 } },
        { key: "b", capability: "endless", dependencies: [{ taskKey: "a" }] },
      ],
    });
    const received = await harness.assignmentOf(jobId);
    await untilCancelled(received, "SCHEDULE_TO_CLOSE");
    const job = await harness.untilState(jobId, JobState.FAILED);
    expect(job.failure).toMatchObject({ reason: "SCHEDULE_TO_CLOSE", taskKey: "a" });
    const { task, attempts } = await harness.attemptsOf(jobId);
    expect(task).toMatchObject({ state: TaskState.FAILED, attempts: 1, chargedAttempts: 1 });
    expect(attempts[0]).toMatchObject({
      outcome: "CANCELLED",
      charged: true,
      failure: { reason: "SCHEDULE_TO_CLOSE" },
    });
    expect((await harness.tasksOf(jobId))["b"]?.state).toBe(TaskState.SKIPPED);
    harness.router.complete(received, "too late");
    await untilStale(received);
  });

  it("spans the attempts and the waits between them", async () => {
    const fail: Behaviour = (received, router) => router.fail(received);
    harness.agent({ agentId: "failing", capabilities: ["failing"], behaviour: fail });
    const jobId = await harness.submit({
      tasks: [
        {
          key: "a",
          capability: "failing",
          scheduleToCloseTimeout: { seconds: 1n },
          retry: {
            maxAttempts: 100,
            initialDelay: { seconds: 3_600n },
            maxDelay: { seconds: 3_600n },
          },
        },
      ],
    });
    const job = await harness.untilState(jobId, JobState.FAILED);
    expect(job.failure).toMatchObject({ reason: "SCHEDULE_TO_CLOSE", taskKey: "a" });
    const { task, attempts } = await harness.attemptsOf(jobId);
    expect(task).toMatchObject({ attempts: 1, failure: { reason: "SCHEDULE_TO_CLOSE" } });
    expect(attempts.map((attempt) => attempt.failure?.reason)).toEqual(["AGENT_ERROR"]);
  });

  it("begins for a task with others before it when they are done, and leaves no row behind", async () => {
    const slowFirst: Behaviour = (received, router) => {
      if (received.assignment.taskKey === "a") router.accept(received);
      else echo(received, router);
    };
    harness.agent({ agentId: "chain", capabilities: ["chain"], behaviour: slowFirst });
    const jobId = await harness.submit({
      tasks: [
        { key: "a", capability: "chain" },
        {
          key: "b",
          capability: "chain",
          dependencies: [{ taskKey: "a" }],
          scheduleToCloseTimeout: { nanos: 700_000_000 },
        },
      ],
    });
    const received = await harness.assignmentOf(jobId);
    await repeatFor(1_000, () => undefined);
    harness.router.complete(received, "a");
    await harness.untilState(jobId, JobState.COMPLETED);
    await waitFor(async () => (await harness.count("task_closings")) === 0, {
      what: "the limits of ended tasks to be forgotten",
    });
    expect((await harness.tasksOf(jobId))["b"]?.state).toBe(TaskState.SUCCEEDED);
  });

  it("is shown with the heartbeat in the task's spec", async () => {
    const scheduleToCloseTimeout = { seconds: 60n };
    const spec = { capability: "ghost", heartbeatTimeout: HEARTBEAT, scheduleToCloseTimeout };
    const jobId = await harness.submit({
      tasks: [
        { key: "a", ...spec },
        { key: "b", capability: "ghost" },
      ],
    });
    const { a, b } = await harness.tasksOf(jobId);
    expect(a?.spec).toMatchObject({
      heartbeatTimeout: { seconds: 0n, nanos: HEARTBEAT.nanos },
      scheduleToCloseTimeout,
    });
    expect(b?.spec?.heartbeatTimeout).toBeUndefined();
    expect(b?.spec?.scheduleToCloseTimeout).toBeUndefined();
    await harness.client.cancelJob({ requestId: jobId, jobId });
  });
});

describe("a lease that memory does not know", () => {
  it("is found by the audit and ended, since its deadline is over", async () => {
    const jobId = await harness.submit({ tasks: [{ key: "a", capability: "nobody-has-it" }] });
    const { a } = await harness.tasksOf(jobId);
    const uuidOf = (id = "") => id.slice(id.indexOf("_") + 1);
    await harness.db.query(`
      WITH counted AS (UPDATE jobs SET ready = 0, active = 1, state = 'RUNNING' WHERE job_id = '${uuidOf(jobId)}')
      INSERT INTO task_states (task_id, job_id, state, pending, attempts, fence, agent_id, agent_epoch, capability_version,
                               ready_at, leased_at, deadline_at, decision)
      SELECT task_id, job_id, 'LEASED', 0, 1, nextval('fence_seq'), 'ghost', 1, '1.0.0', created_at,
             now() - interval '1 day', now() - interval '1 hour', '{"score":1,"eligible":1}'
        FROM tasks WHERE task_id = '${uuidOf(a?.taskId)}'`);
    const first = await waitFor(
      async () => {
        const { attempts } = await harness.attemptsOf(jobId);
        return attempts[0]?.endTime === undefined ? undefined : attempts[0];
      },
      { what: "the end of the unknown lease", timeoutMs: 30_000 },
    );
    expect(first).toMatchObject({ agentId: "ghost", failure: { reason: "DEADLINE_EXCEEDED" } });
  });
});

describe("a lease that is in memory and no longer stored", () => {
  it("has memory read anew when its deadline is over, and what is stored ended", async () => {
    harness.agent({ agentId: "still", capabilities: ["still"], behaviour: begin });
    const task = { key: "a", capability: "still", startToCloseTimeout: { seconds: 1n } };
    const jobId = await harness.submit({ tasks: [{ ...task, retry: { maxAttempts: 1 } }] });
    const { assignment } = await harness.assignmentOf(jobId);
    const uuid = assignment.taskId.slice(assignment.taskId.indexOf("_") + 1);
    await harness.db.query(
      `UPDATE task_states SET fence = nextval('fence_seq') WHERE task_id = '${uuid}'`,
    );
    await harness.untilState(jobId, JobState.FAILED);
    const { attempts } = await harness.attemptsOf(jobId);
    expect(attempts[0]).toMatchObject({ failure: { reason: "DEADLINE_EXCEEDED" } });
    const { rows } = await harness.db.query<{ last_fence: string }>(
      `SELECT last_fence FROM task_states WHERE task_id = '${uuid}'`,
    );
    expect(BigInt(rows[0]?.last_fence ?? 0)).toBeGreaterThan(assignment.fence);
  });
});
