import { TaskUpdateOutcome } from "@nexus/proto/mesh";
import { JobState, TaskState } from "@nexus/proto/orchestrator";
import { waitFor } from "@nexus/testkit";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Harness, textOf } from "./_harness.ts";
import { type Behaviour, echo, type Received, silent } from "./_router.ts";

const harness = new Harness();
beforeAll(() => harness.open());
afterAll(() => harness.close());

const FAST_RETRY = { initialDelay: { nanos: 150_000_000 } };

function untilAnswered(received: Received): Promise<TaskUpdateOutcome> {
  return waitFor(() => harness.router.outcomeOf(received), { what: "an answer" });
}

describe("an attempt whose agent only says its end", () => {
  it.each(["done", "failed"] as const)("began all the same: %s at once", async (how) => {
    const capability = `at-once.${how}`;
    const behaviour: Behaviour = (received, router) => {
      if (how === "done") router.complete(received, "done");
      else router.fail(received, "BROKEN", { retryable: false });
    };
    harness.agent({ agentId: capability, capabilities: [capability], behaviour });
    const jobId = await harness.submit({ tasks: [{ key: "a", capability }] });
    await harness.untilState(jobId, how === "done" ? JobState.COMPLETED : JobState.FAILED);
    const { attempts } = await harness.attemptsOf(jobId);
    expect(attempts).toHaveLength(1);
    expect(attempts[0]?.startTime).toBeDefined();
  });
});

describe("a failed attempt", () => {
  it("is retried after its delay, with another agent if there is one, until it succeeds", async () => {
    const failFirst: Behaviour = (received, router) => {
      router.accept(received);
      if (received.assignment.attempt < 3) router.fail(received);
      else router.complete(received, `by ${received.agentId}`);
    };
    harness.agent({ agentId: "flaky-1", capabilities: ["flaky"], behaviour: failFirst });
    harness.agent({ agentId: "flaky-2", capabilities: ["flaky"], behaviour: failFirst });
    const jobId = await harness.submit({
      tasks: [{ key: "a", capability: "flaky", retry: FAST_RETRY }],
    });
    await harness.untilState(jobId, JobState.COMPLETED);
    const { task, attempts } = await harness.attemptsOf(jobId);
    expect(task).toMatchObject({ attempts: 3, chargedAttempts: 3, state: TaskState.SUCCEEDED });
    expect(attempts.map((attempt) => attempt.outcome)).toEqual(["FAILED", "FAILED", "SUCCEEDED"]);
    expect(attempts.map((attempt) => attempt.charged)).toEqual([true, true, true]);
    const [one, two, three] = attempts;
    expect(two?.agentId).not.toBe(one?.agentId);
    expect(three?.agentId).not.toBe(two?.agentId);
    const fences = attempts.map((attempt) => attempt.fence);
    expect([...fences].sort((a, b) => Number(a - b))).toEqual(fences);
    const waits = [ms(two?.leaseTime) - ms(one?.endTime), ms(three?.leaseTime) - ms(two?.endTime)];
    // The delays are 150 and 300 ms, up to a tenth shorter by chance, by the database's clock.
    expect(waits[0]).toBeGreaterThanOrEqual(134);
    expect(waits[1]).toBeGreaterThanOrEqual(269);
  });

  it("is the last one when the attempts are used up, and fails task and job", async () => {
    const always: Behaviour = (received, router) => router.fail(received, "AGENT_ERROR");
    harness.agent({ agentId: "broken", capabilities: ["broken"], behaviour: always });
    const jobId = await harness.submit({
      tasks: [{ key: "a", capability: "broken", retry: { ...FAST_RETRY, maxAttempts: 2 } }],
    });
    const job = await harness.untilState(jobId, JobState.FAILED);
    expect(job.failure).toMatchObject({ reason: "AGENT_ERROR", taskKey: "a" });
    expect((await harness.attemptsOf(jobId)).attempts).toHaveLength(2);
  });

  it("is not retried when the agent says that it is final, or the policy that its reason is", async () => {
    const final: Behaviour = (received, router) => {
      const byPolicy = received.assignment.taskKey === "policy";
      router.fail(received, byPolicy ? "QUOTA" : "BAD_INPUT", { retryable: byPolicy });
    };
    harness.agent({ agentId: "final", capabilities: ["final"], behaviour: final });
    const jobId = await harness.submit({
      tasks: [
        { key: "agent", capability: "final" },
        { key: "policy", capability: "final", retry: { nonRetryableReasons: ["QUOTA"] } },
      ],
    });
    await harness.untilState(jobId, JobState.FAILED);
    const { agent, policy } = await harness.tasksOf(jobId);
    expect(agent).toMatchObject({ attempts: 1, failure: { reason: "BAD_INPUT" } });
    expect(policy).toMatchObject({ attempts: 1, failure: { reason: "QUOTA" } });
  });

  it("keeps a message with a character that cannot be stored from spoiling its batch", async () => {
    const nul: Behaviour = (received, router) =>
      router.fail(received, "ODD", { retryable: false, message: "a\u0000b" });
    harness.agent({ agentId: "odd", capabilities: ["odd"], behaviour: nul });
    const jobId = await harness.submit({ tasks: [{ key: "a", capability: "odd" }] });
    const job = await harness.untilState(jobId, JobState.FAILED);
    expect(job.failure?.message).toBe("a\ufffdb");
  });
});

describe("an attempt that takes too long", () => {
  it("is ended and charged, its agent is told to stop, and its late result is stale", async () => {
    let slow: Received | undefined;
    const once: Behaviour = (received, router) => {
      if (received.assignment.attempt === 1) slow = received;
      else echo(received, router);
    };
    harness.agent({ agentId: "slow", capabilities: ["slow"], behaviour: once });
    const jobId = await harness.submit({
      tasks: [
        {
          key: "a",
          capability: "slow",
          startToCloseTimeout: { seconds: 2n },
          retry: FAST_RETRY,
        },
      ],
    });
    await harness.untilState(jobId, JobState.COMPLETED);
    const { task, attempts } = await harness.attemptsOf(jobId);
    expect(task).toMatchObject({ attempts: 2, chargedAttempts: 2 });
    expect(attempts[0]).toMatchObject({
      outcome: "FAILED",
      charged: true,
      failure: { reason: "DEADLINE_EXCEEDED" },
    });
    const late = slow as Received;
    expect(harness.router.cancels).toContainEqual({
      agentId: "slow",
      cancel: expect.objectContaining({
        taskId: late.assignment.taskId,
        fence: late.assignment.fence,
        reason: "DEADLINE_EXCEEDED",
      }) as unknown,
    });
    harness.router.complete(late, "too late");
    expect(await untilAnswered(late)).toBe(TaskUpdateOutcome.STALE);
    const { job } = await harness.client.getJob({ jobId });
    expect(textOf(job?.results["a"])).toBe("a:");
  });
});

describe("a task that no agent takes", () => {
  it("fails with NO_AGENT_IN_TIME, which is never retried", async () => {
    const jobId = await harness.submit({
      tasks: [
        { key: "a", capability: "unheard-of", scheduleToStartTimeout: { nanos: 100_000_000 } },
        { key: "b", capability: "unheard-of", dependencies: [{ taskKey: "a" }] },
      ],
    });
    const job = await harness.untilState(jobId, JobState.FAILED);
    expect(job.failure).toMatchObject({ reason: "NO_AGENT_IN_TIME", taskKey: "a" });
    const { a, b } = await harness.tasksOf(jobId);
    expect(a).toMatchObject({
      state: TaskState.FAILED,
      attempts: 0,
      failure: { message: expect.stringContaining("Nobody has the capability.") },
    });
    expect(b).toMatchObject({
      state: TaskState.SKIPPED,
      failure: { reason: "UPSTREAM_FAILED", taskKey: "a" },
    });
  });

  it("says what kept it from those that have the capability", async () => {
    harness.agent({ agentId: "old", capabilities: ["wanted@1.0.0"] });
    harness.agent({ agentId: "elsewhere", capabilities: ["wanted@2.0.0"], labels: { zone: "b" } });
    const scheduleToStartTimeout = { nanos: 100_000_000 };
    const jobId = await harness.submit({
      tasks: [
        {
          key: "a",
          capability: "wanted",
          versionRange: "^2.0.0",
          requiredLabels: { zone: "a" },
          scheduleToStartTimeout,
        },
        { key: "large", capability: "wanted", slotCost: 21, scheduleToStartTimeout },
      ],
    });
    await harness.untilState(jobId, JobState.FAILED);
    const { a, large } = await harness.tasksOf(jobId);
    expect(a?.failure?.message).toMatch(
      /have the capability: (1 VERSION, 1 LABELS|1 LABELS, 1 VERSION)\.$/,
    );
    expect(large?.failure?.message).toMatch(/have the capability: 2 [A-Z_]+\.$/);
  });
});

describe("a terminal update", () => {
  it("is COMMITTED again when repeated, and STALE for another word or another agent", async () => {
    harness.agent({ agentId: "repeats", capabilities: ["repeat"], behaviour: silent });
    harness.agent({ agentId: "thief", capabilities: ["steal"] });
    const jobId = await harness.submit({ tasks: [{ key: "a", capability: "repeat" }] });
    const received = await harness.assignmentOf(jobId);
    const forged = { ...received, agentId: "thief" };
    harness.router.complete(forged, "stolen");
    await waitFor(() => harness.router.results.some((r) => r.agentId === "thief"), {
      what: "the thief's answer",
    });
    expect(harness.router.outcomeOf(received)).toBe(TaskUpdateOutcome.STALE);
    harness.router.results.length = 0;
    harness.router.complete(received, "mine");
    expect(await untilAnswered(received)).toBe(TaskUpdateOutcome.COMMITTED);
    await harness.untilState(jobId, JobState.COMPLETED);
    harness.router.results.length = 0;
    harness.router.complete(received, "mine");
    expect(await untilAnswered(received)).toBe(TaskUpdateOutcome.COMMITTED);
    harness.router.results.length = 0;
    harness.router.fail(received);
    expect(await untilAnswered(received)).toBe(TaskUpdateOutcome.STALE);
    harness.router.results.length = 0;
    const stale = { ...received.assignment, fence: received.assignment.fence + 1_000n };
    harness.router.complete({ ...received, assignment: stale }, "future");
    await waitFor(() => harness.router.results.length === 1, { what: "an answer" });
    expect(harness.router.results[0]?.result.outcome).toBe(TaskUpdateOutcome.STALE);
    const { job } = await harness.client.getJob({ jobId });
    expect(textOf(job?.results["a"])).toBe("mine");
  });

  it("with too large an output fails the task for good", async () => {
    const big: Behaviour = (received, router) =>
      router.complete(received, "x".repeat(256 * 1024 + 1));
    harness.agent({ agentId: "big", capabilities: ["big"], behaviour: big });
    const jobId = await harness.submit({ tasks: [{ key: "a", capability: "big" }] });
    const job = await harness.untilState(jobId, JobState.FAILED);
    expect(job.failure?.reason).toBe("OUTPUT_TOO_LARGE");
    const received = await harness.assignmentOf(jobId);
    expect(await untilAnswered(received)).toBe(TaskUpdateOutcome.COMMITTED);
  });

  it("about a stale lease, short of an end, has the agent told to stop", async () => {
    harness.agent({ agentId: "late", capabilities: ["late"], behaviour: echo });
    const jobId = await harness.submit({ tasks: [{ key: "a", capability: "late" }] });
    await harness.untilState(jobId, JobState.COMPLETED);
    const received = await harness.assignmentOf(jobId);
    harness.router.progress(received, 0.5);
    await waitFor(
      () =>
        harness.router.cancels.find(
          ({ cancel }) =>
            cancel.taskId === received.assignment.taskId && cancel.reason === "LEASE_LOST",
        ),
      { what: "the cancel" },
    );
  });
});

function ms(time: { readonly seconds: bigint; readonly nanos: number } | undefined): number {
  return Number(time?.seconds ?? 0n) * 1_000 + (time?.nanos ?? 0) / 1e6;
}
