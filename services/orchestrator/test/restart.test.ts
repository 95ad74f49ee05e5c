import { SessionState, TaskUpdateOutcome } from "@nexus/proto/mesh";
import { JobState, TaskState } from "@nexus/proto/orchestrator";
import { waitFor } from "@nexus/testkit";
import { Client as PgClient } from "pg";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { OrchestratorConfig } from "../src/config.ts";
import { Harness } from "./_harness.ts";
import { type Behaviour, begin, echo, type Received, silent } from "./_router.ts";

let harness: Harness;
beforeEach(async () => {
  harness = new Harness();
  await harness.open();
});
afterEach(() => harness.close());

function tasks(count: number, capability = "x") {
  return Array.from({ length: count }, (_, i) => ({ key: `t${i}`, capability }));
}

/** Stops the orchestrator and starts another one on the same database. */
async function restart(values: Partial<OrchestratorConfig> = {}): Promise<void> {
  await harness.service[Symbol.asyncDispose]();
  harness.service = await harness.start(values);
  harness.client = await harness.clientOf("alice");
  await waitFor(() => harness.isReady(), { what: "the new orchestrator to own" });
}

/** Cuts every connection of the orchestrator to Postgres, as a restart of Postgres does. */
async function killConnections(application = "nexus-orchestrator"): Promise<number> {
  const admin = new PgClient({ connectionString: harness.database.adminUrl });
  await admin.connect();
  try {
    const { rowCount } = await admin.query(
      `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE application_name = $1 AND datname = current_database()`,
      [application],
    );
    return rowCount ?? 0;
  } finally {
    await admin.end();
  }
}

/** Tasks are conserved: every one is terminal once, and nothing is left over. */
async function expectSettled(jobId: string, count: number): Promise<void> {
  const { job } = await harness.client.getJob({ jobId });
  expect(job?.tasks).toMatchObject({ total: count, succeeded: count });
  expect(await harness.count("ready")).toBe(0);
  expect(await harness.count("leases")).toBe(0);
  const { rows } = await harness.db.query<{ n: number }>(
    `SELECT count(*)::int AS n FROM task_events WHERE state = 'SUCCEEDED'
      GROUP BY task_id HAVING count(*) > 1`,
  );
  expect(rows).toEqual([]);
}

describe("a restart of the orchestrator", () => {
  it("keeps leases of live sessions, sends what was never accepted again, and loses nothing", async () => {
    const held: Received[] = [];
    harness.agent({
      agentId: "a",
      capabilities: ["x"],
      slots: 4,
      behaviour: (received, router) => {
        held.push(received);
        if (received.assignment.taskKey !== "t0") router.accept(received);
      },
    });
    const jobId = await harness.submit({ tasks: tasks(8) });
    await waitFor(() => held.length === 4, { what: "four assignments" });
    await waitFor(async () => (await harness.count("task_states WHERE state = 'RUNNING'")) === 3, {
      what: "three to run",
    });
    await restart();
    const again = await waitFor(() => held[4], { what: "the silent one to be sent again" });
    expect(again.assignment.taskKey).toBe("t0");
    expect(again.assignment.fence).toBe(held[0]?.assignment.fence);
    expect((await harness.client.getJob({ jobId })).job?.tasks).toMatchObject({
      active: 4,
      ready: 4,
    });
    harness.router.connect("a", { slots: 4, behaviour: echo });
    for (const received of held.slice(0, 4)) harness.router.complete(received, "old lease");
    await harness.untilState(jobId, JobState.COMPLETED);
    await expectSettled(jobId, 8);
    for (const received of held.slice(0, 4)) {
      expect(harness.router.outcomeOf(received)).toBe(TaskUpdateOutcome.COMMITTED);
    }
  });

  it("remembers how many agents a task took along", async () => {
    const jobId = await harness.submit({ tasks: tasks(1) });
    for (const agentId of ["a", "b", "c"]) {
      harness.agent({ agentId, capabilities: ["x"], behaviour: begin });
      await waitFor(() => harness.router.assignments.find((item) => item.agentId === agentId), {
        what: `an assignment to ${agentId}`,
      });
      if (agentId === "c") await restart();
      harness.router.setState(agentId, SessionState.LOST);
    }
    const { failure } = await harness.untilState(jobId, JobState.FAILED);
    expect(failure?.reason).toBe("MAX_LOSSES");
    expect((await harness.tasksOf(jobId))["t0"]).toMatchObject({ attempts: 3, chargedAttempts: 0 });
  });

  it("gives no task up for slots that it did not find before", async () => {
    const crowded = 3;
    const behaviour: Behaviour = (received, router) => {
      if (received.assignment.attempt <= crowded) router.refuse(received, "NO_SLOT");
    };
    harness.agent({ agentId: "a", capabilities: ["x"], behaviour });
    const jobId = await harness.submit({ tasks: tasks(1) });
    const held = () =>
      harness.router.assignments.findLast(({ assignment }) => assignment.attempt > crowded);
    await waitFor(held, { what: "an attempt that finds a slot" });
    await restart({ uncostedAttemptsMax: crowded });
    harness.agent({ agentId: "b", capabilities: ["x"] });
    harness.router.release(held() as Received);
    await harness.untilState(jobId, JobState.COMPLETED);
    expect((await harness.tasksOf(jobId))["t0"]).toMatchObject({ attempts: 5, agentId: "b" });
  });

  it("counts no loss for the agents of a router that comes back without them", async () => {
    harness.agent({ agentId: "a", capabilities: ["x"], behaviour: silent });
    const retry = { maxLosses: 1 };
    const jobId = await harness.submit({ tasks: [{ key: "t0", capability: "x", retry }] });
    await waitFor(() => harness.router.assignments[0], { what: "the assignment" });
    harness.router.breakStreams();
    harness.router.connect("a", { state: SessionState.DETACHED, behaviour: silent });
    await waitFor(() => harness.router.streams === 1, { what: "a new stream" });
    harness.router.setState("a", SessionState.LOST);
    harness.agent({ agentId: "b", capabilities: ["x"] });
    await harness.untilState(jobId, JobState.COMPLETED);
    expect((await harness.tasksOf(jobId))["t0"]).toMatchObject({ attempts: 2, agentId: "b" });
  });

  it("requeues the leases of sessions that do not come back", async () => {
    harness.agent({ agentId: "gone", capabilities: ["x"], behaviour: begin });
    const jobId = await harness.submit({ tasks: tasks(2) });
    await waitFor(async () => (await harness.count("leases")) === 2, { what: "two leases" });
    await harness.service[Symbol.asyncDispose]();
    harness.router.forget("gone");
    harness.agent({ agentId: "other", capabilities: ["x"] });
    harness.service = await harness.start();
    harness.client = await harness.clientOf("alice");
    await harness.untilState(jobId, JobState.COMPLETED);
    await expectSettled(jobId, 2);
    const { t0 } = await harness.tasksOf(jobId);
    const { attempts } = await harness.client.explainTask({ taskId: t0?.taskId ?? "" });
    expect(attempts[0]).toMatchObject({ agentId: "gone", outcome: "LOST", charged: false });
    expect(attempts[1]).toMatchObject({ agentId: "other", outcome: "SUCCEEDED" });
  });

  it("ends leases of a session that was followed by another, though that is seen before they are read", async () => {
    harness.agent({ agentId: "a", capabilities: ["x"], behaviour: begin });
    const jobId = await harness.submit({ tasks: tasks(1) });
    await waitFor(async () => (await harness.count("task_states WHERE state = 'RUNNING'")) === 1, {
      what: "one to run",
    });
    await harness.service[Symbol.asyncDispose]();
    harness.router.connect("a", { epoch: 2n, behaviour: echo });
    // The stream is faster than the first load of shards, by far.
    harness.service = await harness.start();
    harness.client = await harness.clientOf("alice");
    await harness.untilState(jobId, JobState.COMPLETED);
    await expectSettled(jobId, 1);
    const { t0 } = await harness.tasksOf(jobId);
    const { attempts } = await harness.client.explainTask({ taskId: t0?.taskId ?? "" });
    expect(attempts[0]).toMatchObject({ outcome: "LOST", charged: false });
  });

  it("keeps the delay of a task that waits for its next attempt, and the agent to avoid", async () => {
    const delay = { initialDelay: { seconds: 1n }, maxAttempts: 2 };
    harness.agent({
      agentId: "first",
      capabilities: ["x"],
      reputation: 1,
      behaviour: (received, router) => router.fail(received),
    });
    const jobId = await harness.submit({ tasks: [{ key: "a", capability: "x", retry: delay }] });
    await waitFor(async () => (await harness.tasksOf(jobId))["a"]?.failure !== undefined, {
      what: "the first failure",
    });
    harness.agent({ agentId: "second", capabilities: ["x"], reputation: 0.1 });
    await restart();
    await harness.untilState(jobId, JobState.COMPLETED);
    const { a } = await harness.tasksOf(jobId);
    const { attempts } = await harness.client.explainTask({ taskId: a?.taskId ?? "" });
    expect(attempts.map((attempt) => attempt.agentId)).toEqual(["first", "second"]);
    const waitedMs =
      Number((attempts[1]?.leaseTime?.seconds ?? 0n) - (attempts[0]?.endTime?.seconds ?? 0n)) *
        1e3 +
      ((attempts[1]?.leaseTime?.nanos ?? 0) - (attempts[0]?.endTime?.nanos ?? 0)) / 1e6;
    expect(waitedMs).toBeGreaterThanOrEqual(890);
  });
});

describe("the loss of every database connection", () => {
  it("loses nothing that was acknowledged, needs no restart, and finishes no task twice", async () => {
    harness.agent({ agentId: "a", capabilities: ["x"], slots: 20 });
    harness.agent({ agentId: "b", capabilities: ["x"], slots: 20 });
    const jobId = await harness.submit({
      tasks: [
        ...tasks(200),
        {
          key: "end",
          capability: "x",
          dependencies: tasks(200).map(({ key }) => ({ taskKey: key })),
        },
      ],
    });
    for (const done of [20, 60, 100]) {
      await waitFor(
        async () => (await harness.count("task_states WHERE state = 'SUCCEEDED'")) >= done,
        {
          what: `${done} tasks done`,
          timeoutMs: 25_000,
        },
      );
      // After the cut before, the pool may not have come back yet.
      await waitFor(async () => (await killConnections()) > 0, { what: "connections to cut" });
    }
    const job = await waitFor(
      async () => {
        const { job } = await harness.client.getJob({ jobId });
        return job?.state === JobState.COMPLETED ? job : undefined;
      },
      { what: "the job to complete", timeoutMs: 25_000 },
    );
    expect(job.tasks).toMatchObject({ total: 201, succeeded: 201 });
    await expectSettled(jobId, 201);
  }, 60_000);

  it("keeps a watch whole", async () => {
    harness.agent({ agentId: "a", capabilities: ["x"], slots: 5 });
    const jobId = await harness.submit({ tasks: tasks(60) });
    const seen: string[] = [];
    const watching = (async () => {
      for await (const { events } of harness.client.watchJob({ jobId })) {
        for (const { event, sequence } of events) {
          if (event.case === "taskChanged" || event.case === "jobChanged") seen.push(`${sequence}`);
        }
      }
    })();
    await waitFor(() => seen.length > 10, { what: "events" });
    await killConnections();
    await watching;
    const { rows } = await harness.db.query<{ sequence: string }>(
      "SELECT sequence FROM task_events ORDER BY sequence",
    );
    expect(seen).toEqual(rows.map((row) => row.sequence));
  });
});

describe("the loss of a router's stream", () => {
  it("keeps leases while the stream is down, and takes their ends afterwards", async () => {
    harness.agent({ agentId: "a", capabilities: ["x"], behaviour: begin });
    const jobId = await harness.submit({ tasks: tasks(1) });
    const received = await waitFor(() => harness.router.assignments[0], { what: "the assignment" });
    await waitFor(async () => (await harness.tasksOf(jobId))["t0"]?.state === TaskState.RUNNING, {
      what: "the task to run",
    });
    harness.router.breakStreams();
    await waitFor(() => harness.router.streams === 1, { what: "a new stream" });
    harness.router.complete(received, "done");
    await harness.untilState(jobId, JobState.COMPLETED);
    const { t0 } = await harness.tasksOf(jobId);
    expect(t0).toMatchObject({ attempts: 1 });
  });

  it("ends the leases of a router that stays away", async () => {
    harness.agent({ agentId: "a", capabilities: ["x"], behaviour: silent });
    const jobId = await harness.submit({ tasks: tasks(1) });
    await waitFor(() => harness.router.assignments[0], { what: "the assignment" });
    await harness.router.close();
    await waitFor(async () => (await harness.count("leases")) === 0, { what: "the lease to end" });
    const { t0 } = await harness.tasksOf(jobId);
    expect(t0).toMatchObject({ state: TaskState.READY, failure: { reason: "AGENT_LOST" } });
    await harness.router.listen();
    harness.router.connect("a", { epoch: 2n });
    await harness.untilState(jobId, JobState.COMPLETED);
  });

  it("assigns nothing to a detached or draining session", async () => {
    harness.agent({ agentId: "a", capabilities: ["x"] });
    const warm = await harness.submit({ tasks: tasks(1) });
    await harness.untilState(warm, JobState.COMPLETED);
    for (const state of [SessionState.DETACHED, SessionState.DRAINING]) {
      harness.router.setState("a", state);
      const jobId = await harness.submit({ tasks: tasks(1) });
      const { t0 } = await harness.tasksOf(jobId);
      const reason = state === SessionState.DRAINING ? "DRAINING" : "NOT_CONNECTED";
      await waitFor(
        async () => {
          const { now } = await harness.client.explainTask({ taskId: t0?.taskId ?? "" });
          return now?.rejections.some((r) => r.reason === reason);
        },
        { what: reason },
      );
      harness.router.setState("a", SessionState.CONNECTED);
      await harness.untilState(jobId, JobState.COMPLETED);
    }
  });
});
