import type { Duration, Timestamp } from "@bufbuild/protobuf/wkt";
import { durationMs, timestampMs } from "@bufbuild/protobuf/wkt";
import type { AttemptOutcome } from "@nexus/proto/common";
import { JobState } from "@nexus/proto/orchestrator";
import { waitFor } from "@nexus/testkit";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Harness } from "./_harness.ts";

const harness = new Harness();
beforeAll(async () => {
  await harness.open();
  harness.agent({ agentId: "good", capabilities: ["works"] });
  harness.agent({
    agentId: "bad",
    capabilities: ["breaks"],
    behaviour: (received, router) => router.fail(received, "BROKEN", { retryable: false }),
  });
});
afterAll(() => harness.close());

/** Holds an outcome to what the tables say of its attempt. */
async function expectStoredTimes(
  jobId: string,
  outcome: AttemptOutcome | undefined,
): Promise<void> {
  const { tasks } = await harness.client.listTasks({ jobId });
  const task = tasks[0];
  const { attempts } = await harness.client.explainTask({ taskId: task?.taskId ?? "" });
  expect(outcome).toMatchObject({ jobId, taskId: task?.taskId });
  const [ready, leased, started, ended] = [
    task?.readyTime,
    attempts[0]?.leaseTime,
    attempts[0]?.startTime,
    attempts[0]?.endTime,
  ].map((time) => (time === undefined ? Number.NaN : timestampMs(time)));
  const near = (duration: Duration | undefined, ms: number) => {
    expect(Math.abs(durationMs(duration ?? ({} as Duration)) - ms)).toBeLessThanOrEqual(2);
  };
  expect(Math.abs(timestampMs(outcome?.endTime ?? ({} as Timestamp)) - ended!)).toBeLessThan(2);
  near(outcome?.queueTime, leased! - ready!);
  near(outcome?.runTime, ended! - leased!);
  if (Number.isNaN(started)) expect(outcome?.workTime).toBeUndefined();
  else near(outcome?.workTime, ended! - started!);
}

describe("outcomes", () => {
  it("tell registry and insight who did what, how long it took and why it failed", async () => {
    const ok = await harness.submit({ tasks: [{ key: "a", capability: "works" }] });
    const broken = await harness.submit({ tasks: [{ key: "a", capability: "breaks" }] });
    await harness.untilState(ok, JobState.COMPLETED);
    await harness.untilState(broken, JobState.FAILED);
    await waitFor(() => harness.peers.outcomes.length >= 2, { what: "two outcomes" });
    await waitFor(() => harness.peers.samples.length >= 2, { what: "two samples" });
    const [success, failure] = harness.peers.outcomes;
    expect(success).toMatchObject({
      namespace: "default",
      agentId: "good",
      capability: "works",
      success: true,
      reason: "",
    });
    expect(failure).toMatchObject({ agentId: "bad", success: false, reason: "BROKEN" });
    expect(harness.peers.samples.slice(0, 2)).toEqual([success, failure]);
    await expectStoredTimes(ok, success);
    await expectStoredTimes(broken, failure);
    await waitFor(async () => (await harness.count("outbox")) === 0, { what: "an empty outbox" });
  });

  it("wait for a receiver that is away, and hold up neither tasks nor the other receiver", async () => {
    harness.peers.outcomesDown = true;
    const before = { o: harness.peers.outcomes.length, s: harness.peers.samples.length };
    const tasks = Array.from({ length: 5 }, (_, i) => ({ key: `t${i}`, capability: "works" }));
    const jobId = await harness.submit({ tasks });
    await harness.untilState(jobId, JobState.COMPLETED);
    await waitFor(() => harness.peers.samples.length === before.s + 5, { what: "five samples" });
    expect(harness.peers.outcomes).toHaveLength(before.o);
    expect(await outcomesInOutbox()).toBe(5);
    harness.peers.outcomesDown = false;
    await waitFor(() => harness.peers.outcomes.length === before.o + 5, {
      what: "five outcomes",
      timeoutMs: 20_000,
    });
    expect(harness.peers.samples).toHaveLength(before.s + 5);
    await waitFor(async () => (await harness.count("outbox")) === 0, { what: "an empty outbox" });
  });

  it("reach receivers of the version before tables, each once", async () => {
    harness.peers.older = true;
    const before = { o: harness.peers.outcomes.length, s: harness.peers.samples.length };
    const tasks = Array.from({ length: 7 }, (_, i) => ({ key: `t${i}`, capability: "works" }));
    const jobId = await harness.submit({ tasks });
    await harness.untilState(jobId, JobState.COMPLETED);
    await waitFor(async () => (await harness.count("outbox")) === 0, { what: "an empty outbox" });
    harness.peers.older = false;
    const told = [harness.peers.outcomes.slice(before.o), harness.peers.samples.slice(before.s)];
    for (const outcomes of told) {
      expect(outcomes.filter((outcome) => outcome.jobId === jobId)).toHaveLength(7);
      expect(outcomes).toHaveLength(7);
    }
  });

  it("of one transaction are one row", async () => {
    harness.peers.outcomesDown = true;
    const tasks = Array.from({ length: 40 }, (_, i) => ({ key: `t${i}`, capability: "works" }));
    const jobId = await harness.submit({ tasks });
    await harness.untilState(jobId, JobState.COMPLETED);
    const { rows } = await harness.db.query<{ rows: number; outcomes: number; commits: number }>(
      `SELECT count(*)::int AS rows, sum(outcomes)::int AS outcomes, count(DISTINCT created_at)::int AS commits
         FROM outbox`,
    );
    expect(rows[0]).toMatchObject({ outcomes: 40, rows: rows[0]?.commits });
    harness.peers.outcomesDown = false;
    await waitFor(async () => (await harness.count("outbox")) === 0, {
      what: "an empty outbox",
      timeoutMs: 20_000,
    });
  });

  it("that a replica left are told by another one, and counted once", async () => {
    const second = await harness.start();
    await waitFor(
      async () =>
        (await harness.count("shard_owners WHERE owner IS NOT NULL GROUP BY owner")) === 32,
      { what: "half of the shards to be the second replica's" },
    );
    const client = await harness.clientOf("alice", { service: second });
    const count = harness.peers.samples.length;
    // Insight is away, the registry is not: the second replica is gone before it knows what either has heard of the rest.
    harness.peers.samplesDown = true;
    const tasks = Array.from({ length: 20 }, (_, i) => ({ key: `t${i}`, capability: "works" }));
    const { job } = await client.submitJob({ requestId: "left", tasks });
    const jobId = job?.jobId ?? "";
    await harness.untilState(jobId, JobState.COMPLETED);
    const counted = () => harness.peers.outcomes.filter((outcome) => outcome.jobId === jobId);
    await waitFor(() => counted().length === 20, { what: "20 outcomes" });
    await second[Symbol.asyncDispose]();
    expect(await outcomesInOutbox()).toBe(20);
    const { rows: left } = await harness.db.query<{ id: string }>(
      "SELECT stream || ' ' || position AS id FROM outbox",
    );
    harness.peers.samplesDown = false;
    await waitFor(() => harness.peers.samples.length === count + 20, {
      what: "20 samples",
      timeoutMs: 20_000,
    });
    await waitFor(async () => (await harness.count("outbox")) === 0, { what: "an empty outbox" });
    // The heir told the registry again, which had counted them.
    for (const { id } of left) expect(harness.peers.told.get(id)).toBeGreaterThan(1);
    expect(counted()).toHaveLength(20);
    expect(harness.peers.samples).toHaveLength(count + 20);
  }, 60_000);
});

async function outcomesInOutbox(): Promise<number> {
  const { rows } = await harness.db.query<{ n: number }>(
    "SELECT coalesce(sum(outcomes), 0)::int AS n FROM outbox",
  );
  return rows[0]?.n ?? 0;
}
