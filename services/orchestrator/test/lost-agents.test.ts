/** Attempts that end without the agent's fault or word: it is lost, gives the task back, or never hears of it. */
import { SessionState, TaskUpdateOutcome } from "@nexus/proto/mesh";
import { JobState, TaskState } from "@nexus/proto/orchestrator";
import { waitFor } from "@nexus/testkit";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Harness } from "./_harness.ts";
import { type Behaviour, begin, echo, silent } from "./_router.ts";

const harness = new Harness();
const UNCOSTED_MAX = 4;
beforeAll(() => harness.open({ uncostedAttemptsMax: UNCOSTED_MAX }));
afterAll(() => harness.close());

describe("a lost agent", () => {
  it("costs no attempt, and its task goes to another agent at once", async () => {
    harness.agent({ agentId: "doomed", capabilities: ["mortal"], behaviour: begin, reputation: 1 });
    const jobId = await harness.submit({ tasks: [{ key: "a", capability: "mortal" }] });
    const first = await harness.assignmentOf(jobId);
    harness.agent({ agentId: "heir", capabilities: ["mortal"] });
    harness.router.setState("doomed", SessionState.LOST);
    await harness.untilState(jobId, JobState.COMPLETED);
    const { task, attempts } = await harness.attemptsOf(jobId);
    expect(task).toMatchObject({ attempts: 2, chargedAttempts: 1 });
    expect(attempts[0]).toMatchObject({
      agentId: "doomed",
      outcome: "LOST",
      charged: false,
      failure: { reason: "AGENT_LOST" },
    });
    expect(attempts[1]).toMatchObject({ agentId: "heir", outcome: "SUCCEEDED" });
    harness.router.complete(first, "from the grave");
    expect(await waitFor(() => harness.router.outcomeOf(first), { what: "an answer" })).toBe(
      TaskUpdateOutcome.STALE,
    );
    await waitFor(() => harness.peers.outcomes.find((o) => o.reason === "AGENT_LOST"), {
      what: "the loss to be reported",
    });
  });

  it("loses its leases too when it begins a new session, and gets them anew", async () => {
    harness.agent({ agentId: "reborn", capabilities: ["phoenix"], behaviour: silent });
    const jobId = await harness.submit({ tasks: [{ key: "a", capability: "phoenix" }] });
    const first = await harness.assignmentOf(jobId);
    harness.router.connect("reborn", { epoch: 2n });
    const second = await harness.assignmentOf(jobId, 2);
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
    await harness.assignmentOf(jobId, slots);
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
    const again = [
      await harness.assignmentOf(jobId, slots + 1),
      await harness.assignmentOf(jobId, slots + 2),
    ];
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
    const { task: ended, attempts } = await harness.attemptsOf(jobId);
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
    const { task } = await harness.attemptsOf(jobId);
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
    const { task, attempts } = await harness.attemptsOf(jobId);
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
        const { task, attempts } = await harness.attemptsOf(jobId);
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
