import { SessionState, TaskUpdateOutcome } from "@nexus/proto/mesh";
import { JobState, TaskState } from "@nexus/proto/orchestrator";
import { waitFor } from "@nexus/testkit";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Harness, textOf } from "./_harness.ts";
import { type Behaviour, begin, echo, type Received, silent } from "./_router.ts";

const harness = new Harness();
const UNCOSTED_MAX = 4;
beforeAll(() => harness.open({ uncostedAttemptsMax: UNCOSTED_MAX }));
afterAll(() => harness.close());

const FAST_RETRY = { initialDelay: { nanos: 150_000_000 } };

/** Waits for the nth assignment of a job's task. */
function assignmentOf(jobId: string, nth = 1): Promise<Received> {
  return waitFor(
    () => harness.router.assignments.filter((item) => item.assignment.jobId === jobId)[nth - 1],
    { what: `assignment ${nth} of ${jobId}` },
  );
}

async function attemptsOf(jobId: string, key = "a") {
  const tasks = await harness.tasksOf(jobId);
  return harness.client.explainTask({ taskId: tasks[key]?.taskId ?? "" });
}

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
    const { attempts } = await attemptsOf(jobId);
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
    const { task, attempts } = await attemptsOf(jobId);
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
    expect((await attemptsOf(jobId)).attempts).toHaveLength(2);
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
    const { task, attempts } = await attemptsOf(jobId);
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

describe("a lost agent", () => {
  it("costs no attempt, and its task goes to another agent at once", async () => {
    harness.agent({ agentId: "doomed", capabilities: ["mortal"], behaviour: begin, reputation: 1 });
    const jobId = await harness.submit({ tasks: [{ key: "a", capability: "mortal" }] });
    const first = await assignmentOf(jobId);
    harness.agent({ agentId: "heir", capabilities: ["mortal"] });
    harness.router.setState("doomed", SessionState.LOST);
    await harness.untilState(jobId, JobState.COMPLETED);
    const { task, attempts } = await attemptsOf(jobId);
    expect(task).toMatchObject({ attempts: 2, chargedAttempts: 1 });
    expect(attempts[0]).toMatchObject({
      agentId: "doomed",
      outcome: "LOST",
      charged: false,
      failure: { reason: "AGENT_LOST" },
    });
    expect(attempts[1]).toMatchObject({ agentId: "heir", outcome: "SUCCEEDED" });
    harness.router.complete(first, "from the grave");
    expect(await untilAnswered(first)).toBe(TaskUpdateOutcome.STALE);
    await waitFor(() => harness.peers.outcomes.find((o) => o.reason === "AGENT_LOST"), {
      what: "the loss to be reported",
    });
  });

  it("loses its leases too when it begins a new session, and gets them anew", async () => {
    harness.agent({ agentId: "reborn", capabilities: ["phoenix"], behaviour: silent });
    const jobId = await harness.submit({ tasks: [{ key: "a", capability: "phoenix" }] });
    const first = await assignmentOf(jobId);
    harness.router.connect("reborn", { epoch: 2n });
    const second = await assignmentOf(jobId, 2);
    expect(second.epoch).toBe(2n);
    expect(second.assignment.fence).toBeGreaterThan(first.assignment.fence);
    await harness.untilState(jobId, JobState.COMPLETED);
  });

  it("has all of its slots when it comes back", async () => {
    const capability = "revenant";
    const slots = 2;
    harness.agent({ agentId: capability, capabilities: [capability], slots, behaviour: begin });
    const jobId = await harness.submit({
      tasks: ["a", "b"].map((key) => ({ key, capability })),
    });
    await assignmentOf(jobId, slots);
    harness.router.setState(capability, SessionState.LOST);
    await waitFor(
      async () => {
        const tasks = Object.values(await harness.tasksOf(jobId));
        return tasks.every(({ state }) => state === TaskState.READY);
      },
      { what: "both tasks to be ready again" },
    );
    harness.router.connect(capability, { slots, epoch: 2n, behaviour: begin });
    // Both at once: neither has ended when the other one begins.
    const again = [await assignmentOf(jobId, slots + 1), await assignmentOf(jobId, slots + 2)];
    for (const received of again) harness.router.complete(received, "done");
    await harness.untilState(jobId, JobState.COMPLETED);
  });

  it.each([
    ["by default", undefined, 3],
    ["as its policy says", { maxAttempts: 1, maxLosses: 2 }, 2],
  ])("ends a task that takes its agents along: %s", async (what, retry, agents) => {
    const capability = `poison.${agents}`;
    const crash: Behaviour = ({ agentId }, router) => router.setState(agentId, SessionState.LOST);
    for (let n = 1; n <= 5; n += 1) {
      harness.agent({
        agentId: `${capability}-${n}`,
        capabilities: [capability],
        behaviour: crash,
      });
    }
    const task = { key: "a", capability, ...(retry === undefined ? {} : { retry }) };
    const jobId = await harness.submit({ tasks: [task] });
    const { failure } = await harness.untilState(jobId, JobState.FAILED);
    expect(failure?.reason, what).toBe("MAX_LOSSES");
    const { task: ended, attempts } = await attemptsOf(jobId);
    expect(ended).toMatchObject({ attempts: agents, chargedAttempts: 0 });
    expect(ended?.spec?.retry?.maxLosses).toBe(retry?.maxLosses);
    expect(new Set(attempts.map(({ agentId }) => agentId)).size).toBe(agents);
    const { deadLetters } = await harness.client.listDeadLetters({
      filter: { reason: "MAX_LOSSES", jobId },
    });
    expect(deadLetters).toMatchObject([
      {
        failure: {
          message: `The agent's session was lost. (${agents} agents were lost with this task in hand)`,
        },
      },
    ]);
  });

  it("gives a task up that no agent gets, after the limit of such attempts", async () => {
    const refuse: Behaviour = (received, router) => {
      router.refuse(received, "SESSION_TOO_SLOW");
      // A session that is back is tried at once.
      router.setState("nobody", SessionState.DETACHED);
      router.setState("nobody", SessionState.CONNECTED);
    };
    harness.agent({ agentId: "nobody", capabilities: ["refused"], behaviour: refuse });
    const jobId = await harness.submit({ tasks: [{ key: "a", capability: "refused" }] });
    const { failure } = await harness.untilState(jobId, JobState.FAILED);
    expect(failure?.reason).toBe("ASSIGNMENT_REFUSED");
    const { task } = await attemptsOf(jobId);
    expect(task).toMatchObject({ attempts: UNCOSTED_MAX, chargedAttempts: 0 });
  });
});

describe("an agent that gives a task back", () => {
  it("costs no attempt", async () => {
    const once: Behaviour = (received, router) => {
      if (received.assignment.attempt === 1) router.release(received);
      else echo(received, router);
    };
    harness.agent({ agentId: "returns", capabilities: ["returning"], behaviour: once });
    const jobId = await harness.submit({ tasks: [{ key: "a", capability: "returning" }] });
    await harness.untilState(jobId, JobState.COMPLETED);
    const { task, attempts } = await attemptsOf(jobId);
    expect(task).toMatchObject({ attempts: 2, chargedAttempts: 1 });
    expect(attempts[0]).toMatchObject({
      outcome: "RELEASED",
      failure: { reason: "AGENT_RELEASED" },
    });
  });
});

describe("an assignment that does not reach its agent", () => {
  it("goes to the fallback", async () => {
    const refuse: Behaviour = (received, router) => router.refuse(received, "SESSION_TOO_SLOW");
    harness.agent({ agentId: "deaf", capabilities: ["hear"], behaviour: refuse, reputation: 1 });
    harness.agent({ agentId: "keen", capabilities: ["hear"], reputation: 0.2 });
    harness.agent({ agentId: "last", capabilities: ["hear"], reputation: 0.1 });
    await waitFor(
      async () => {
        const jobId = await harness.submit({ tasks: [{ key: "a", capability: "hear" }] });
        await harness.untilState(jobId, JobState.COMPLETED);
        const { task, attempts } = await attemptsOf(jobId);
        if (attempts[0]?.agentId !== "deaf") return false;
        expect(task).toMatchObject({ attempts: 2, chargedAttempts: 1 });
        expect(attempts[0]).toMatchObject({
          outcome: "LOST",
          failure: { reason: "ASSIGNMENT_REFUSED" },
          decision: { fallbackAgentId: "keen" },
        });
        expect(attempts[1]?.agentId).toBe("keen");
        return true;
      },
      { what: "a refused assignment" },
    );
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
    const received = await assignmentOf(jobId);
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
    const received = await assignmentOf(jobId);
    expect(await untilAnswered(received)).toBe(TaskUpdateOutcome.COMMITTED);
  });

  it("about a stale lease, short of an end, has the agent told to stop", async () => {
    harness.agent({ agentId: "late", capabilities: ["late"], behaviour: echo });
    const jobId = await harness.submit({ tasks: [{ key: "a", capability: "late" }] });
    await harness.untilState(jobId, JobState.COMPLETED);
    const received = await assignmentOf(jobId);
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
