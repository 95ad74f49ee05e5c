import { JobState, TaskState } from "@nexus/proto/orchestrator";
import type { RunningService } from "@nexus/runtime";
import { createIds } from "@nexus/shared";
import { waitFor } from "@nexus/testkit";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { SHARDS, shardOf } from "../src/domain/shards.ts";
import { expectError } from "./_expect.ts";
import { type Client, Harness, STEADY_LEASE_MS } from "./_harness.ts";
import { begin, echo, type Received } from "./_router.ts";

const ids = createIds();
let harness: Harness;
beforeEach(async () => {
  harness = new Harness();
  await harness.open({ leaseMs: STEADY_LEASE_MS, bulkhead: 500 });
});
afterEach(() => harness.close());

function tasks(count: number, capability = "x") {
  return Array.from({ length: count }, (_, i) => ({ key: `t${i}`, capability }));
}

/** How many shards each live replica owns, most first. */
async function shares(): Promise<number[]> {
  const { rows } = await harness.db.query<{ n: number }>(
    `SELECT count(s.shard)::int AS n FROM replicas r LEFT JOIN shard_owners s ON s.owner = r.replica_id
      GROUP BY r.replica_id ORDER BY 1 DESC`,
  );
  return rows.map((row) => row.n);
}

async function untilShares(wanted: readonly number[]): Promise<void> {
  await waitFor(async () => (await shares()).join() === wanted.join(), {
    what: `shares of ${wanted.join(", ")}`,
  });
}

/** Starts one more replica and returns it with a client of its own. */
async function addReplica(): Promise<{ service: RunningService; client: Client }> {
  const service = await harness.start({ leaseMs: STEADY_LEASE_MS, bulkhead: 500 });
  const client = await harness.clientOf("alice", { service });
  await waitFor(() => harness.isReady(service), { what: "the new replica" });
  return { service, client };
}

async function submitBy(client: Client, count: number): Promise<string> {
  const { job } = await client.submitJob({ requestId: ids.next(), tasks: tasks(count) });
  return job?.jobId ?? "";
}

/** Completes tasks, and repeats what was not answered, as agents do. */
async function completeAll(held: readonly Received[]): Promise<void> {
  await waitFor(
    () => {
      const left = held.filter((received) => harness.router.outcomeOf(received) === undefined);
      for (const received of left) harness.router.complete(received, "done");
      return left.length === 0;
    },
    { what: "an answer for every completion" },
  );
}

/** Every task of every job is terminal exactly once, and nothing is left over. */
async function expectSettled(jobIds: readonly string[]): Promise<void> {
  expect(await harness.count("ready")).toBe(0);
  expect(await harness.count("leases")).toBe(0);
  const { rows } = await harness.db.query<{ n: number }>(
    `SELECT count(*)::int AS n FROM task_events
      WHERE task_id IS NOT NULL AND state IN ('SUCCEEDED', 'FAILED', 'CANCELLED', 'SKIPPED')
      GROUP BY task_id HAVING count(*) > 1`,
  );
  expect(rows).toEqual([]);
  for (const jobId of jobIds) {
    const { job } = await harness.client.getJob({ jobId });
    expect(job?.state).toBe(JobState.COMPLETED);
  }
}

describe("shards", () => {
  it("are all one replica's, then shared evenly as others come, and taken back as they leave", async () => {
    await untilShares([SHARDS]);
    const second = await addReplica();
    await untilShares([32, 32]);
    const third = await addReplica();
    await untilShares([22, 21, 21]);
    await second.service[Symbol.asyncDispose]();
    await untilShares([32, 32]);
    await third.service[Symbol.asyncDispose]();
    await untilShares([SHARDS]);
  });

  it("of a replica that is put out are another's at once, and all that it still writes fails", async () => {
    harness.agent({ agentId: "a", capabilities: ["x"], slots: 20, behaviour: begin });
    const jobId = await harness.submit({ tasks: tasks(10) });
    await waitFor(() => harness.router.assignments.length === 10, { what: "ten assignments" });
    const held = [...harness.router.assignments];
    const { rows } = await harness.db.query("DELETE FROM replicas RETURNING replica_id");
    expect(rows).toHaveLength(1);
    // Its own next look, or its next write, tells it; then it joins again and reads everything anew.
    await completeAll(held);
    await harness.untilState(jobId, JobState.COMPLETED);
    await expectSettled([jobId]);
    await untilShares([SHARDS]);
    const { rows: epochs } = await harness.db.query<{ epoch: string }>(
      "SELECT DISTINCT epoch FROM shard_owners",
    );
    expect(epochs).toEqual([{ epoch: "2" }]);
  });
});

describe("a replica whose shards are another's by now", () => {
  /** Gives all shards to one that this replica has not heard of, and that is nowhere to be reached. */
  async function giveAway(): Promise<void> {
    await harness.db.query(`
      WITH next AS (
        INSERT INTO replicas (replica_id, name, address, expires_at)
        VALUES ('next', 'next', '127.0.0.1:1', now() + interval '1 hour') RETURNING replica_id
      ) UPDATE shard_owners SET owner = next.replica_id, epoch = epoch + 1 FROM next`);
  }
  const BRIEFLY = { timeoutMs: 3_000 };

  it("stores no job there", async () => {
    await giveAway();
    const request = { requestId: ids.next(), tasks: tasks(1, "none") };
    await expect(harness.client.submitJob(request, BRIEFLY)).rejects.toThrow();
    expect(await harness.count("jobs")).toBe(0);
  });

  it("changes no job there", async () => {
    const jobId = await harness.submit({ tasks: tasks(1, "none") });
    await giveAway();
    const request = { requestId: ids.next(), jobId };
    await expect(harness.client.cancelJob(request, BRIEFLY)).rejects.toThrow();
    const { rows } = await harness.db.query("SELECT state FROM jobs");
    expect(rows).toEqual([{ state: "PENDING" }]);
  });
});

describe("several replicas", () => {
  it("take submissions in turn, and each job is done by the owner of its shard", async () => {
    const others = [await addReplica(), await addReplica()];
    await untilShares([22, 21, 21]);
    harness.agent({ agentId: "a", capabilities: ["x"], slots: 40 });
    harness.agent({ agentId: "b", capabilities: ["x"], slots: 40 });
    const clients = [harness.client, ...others.map(({ client }) => client)];
    const jobIds = await Promise.all(
      Array.from({ length: 60 }, (_, i) => submitBy(clients[i % 3] as Client, 5)),
    );
    for (const jobId of jobIds) await harness.untilState(jobId, JobState.COMPLETED);
    await expectSettled(jobIds);
    expect(new Set(jobIds.map(shardOf)).size).toBeGreaterThan(30);
    const { rows } = await harness.db.query(
      "SELECT 1 FROM tasks WHERE get_byte(uuid_send(task_id), 15) & 63 <> shard",
    );
    expect(rows).toEqual([]);
  });

  it("answer any call about any job, whoever owns it", async () => {
    const { client: other } = await addReplica();
    await untilShares([32, 32]);
    harness.agent({ agentId: "a", capabilities: ["x"], slots: 100, behaviour: begin });
    const jobIds = await Promise.all(Array.from({ length: 12 }, () => submitBy(other, 2)));
    await waitFor(() => harness.router.assignments.length === 24, { what: "24 assignments" });
    for (const received of harness.router.assignments) harness.router.progress(received, 0.5);
    for (const jobId of jobIds) {
      const list = await harness.client.listTasks({ jobId });
      const taskId = list.tasks[0]?.taskId ?? "";
      await waitFor(async () => (await harness.client.getTask({ taskId })).task?.progress === 0.5, {
        what: "the progress, which only the owner knows",
      });
      const { attempts } = await harness.client.explainTask({ taskId });
      expect(attempts).toHaveLength(1);
      const watching = last(harness.client.watchJob({ jobId }));
      const { job } = await harness.client.cancelJob({ requestId: ids.next(), jobId });
      expect(job?.state).toBe(JobState.CANCELLED);
      expect(await watching).toBe(JobState.CANCELLED);
    }
    // Every agent was told, by whichever replica owned its task.
    await waitFor(() => harness.router.cancels.length === 24, { what: "24 cancels" });
  });

  it("make one job of one request id, whichever of them is asked", async () => {
    const { client: other } = await addReplica();
    await untilShares([32, 32]);
    const request = { requestId: ids.next(), tasks: tasks(1) };
    const answers = await Promise.all([
      harness.client.submitJob(request),
      other.submitJob(request),
      harness.client.submitJob(request),
    ]);
    expect(new Set(answers.map(({ job }) => job?.jobId)).size).toBe(1);
    expect(await harness.count("jobs")).toBe(1);
    const conflict = other.submitJob({ ...request, tasks: tasks(2) });
    await expectError(conflict, "conflict", "REQUEST_ID_REUSED");
  });

  it("refuse a job that is in nobody's namespace the same everywhere", async () => {
    const { service } = await addReplica();
    const jobId = await harness.submit({ tasks: tasks(1) });
    for (const target of [harness.service, service]) {
      const stranger = await harness.clientOf("mallory", { ns: "other", service: target });
      const cancel = stranger.cancelJob({ requestId: ids.next(), jobId });
      await expectError(cancel, "not_found", "JOB_NOT_FOUND");
      await expectError(stranger.getJob({ jobId }), "not_found", "JOB_NOT_FOUND");
    }
  });
});

describe("a move of shards under load", () => {
  it("loses no task, finishes none twice, and keeps watches whole", async () => {
    const held: Received[] = [];
    harness.agent({
      agentId: "a",
      capabilities: ["x"],
      slots: 500,
      behaviour: (received, router) => {
        if (received.assignment.attempt === 1 && held.length < 60) {
          router.accept(received);
          held.push(received);
        } else echo(received, router);
      },
    });
    const jobIds = await Promise.all(
      Array.from({ length: 30 }, () => submitBy(harness.client, 10)),
    );
    const watches = jobIds.map((jobId) => last(harness.client.watchJob({ jobId })));
    await waitFor(() => held.length === 60, { what: "60 tasks to run" });
    const second = await addReplica();
    await untilShares([32, 32]);
    for (const received of held.slice(0, 30)) harness.router.complete(received, "moving");
    await second.service[Symbol.asyncDispose]();
    await untilShares([SHARDS]);
    await completeAll(held);
    for (const jobId of jobIds) await harness.untilState(jobId, JobState.COMPLETED);
    expect(new Set(await Promise.all(watches))).toEqual(new Set([JobState.COMPLETED]));
    await expectSettled(jobIds);
    const { rows } = await harness.db.query<{ attempts: number }>(
      "SELECT DISTINCT attempts FROM task_states WHERE state = 'SUCCEEDED'",
    );
    expect(rows).toEqual([{ attempts: 1 }]);
  }, 60_000);

  it("keeps a task's fence and attempt with whoever owns it next", async () => {
    harness.agent({ agentId: "a", capabilities: ["x"], slots: 64, behaviour: begin });
    const jobIds = await Promise.all(Array.from({ length: 20 }, () => submitBy(harness.client, 1)));
    await waitFor(() => harness.router.assignments.length === 20, { what: "20 assignments" });
    await waitFor(async () => (await harness.count("task_states WHERE state = 'RUNNING'")) === 20, {
      what: "all to run",
    });
    await addReplica();
    await untilShares([32, 32]);
    for (const jobId of jobIds) {
      const task = (await harness.tasksOf(jobId))["t0"];
      expect(task?.state).toBe(TaskState.RUNNING);
      const sent = harness.router.assignments.filter(
        ({ assignment }) => assignment.taskId === task?.taskId,
      );
      // Sent again by the next owner, so that the router knows where the agent's words go.
      expect(new Set(sent.map(({ assignment }) => assignment.fence))).toEqual(
        new Set([task?.fence]),
      );
    }
  });
});

/** The state in the last change of the job that a watch sees. */
async function last(watch: ReturnType<Client["watchJob"]>): Promise<JobState | undefined> {
  let state: JobState | undefined;
  for await (const { events } of watch) {
    for (const { event } of events) {
      if (event.case === "jobChanged") state = event.value.state;
    }
  }
  return state;
}
