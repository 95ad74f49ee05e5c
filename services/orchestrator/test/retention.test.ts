import { createPool, type Pool } from "@nexus/postgres";
import { JobState } from "@nexus/proto/orchestrator";
import { createIds } from "@nexus/shared";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { JobRemover } from "../src/engine/job-remover.ts";
import { notOwner } from "../src/store/writer-session.ts";
import { expectError } from "./_expect.ts";
import { Harness, text } from "./_harness.ts";
import { type Behaviour, echo } from "./_router.ts";

const DAY_MS = 86_400_000;
const ids = createIds();
const harness = new Harness();
/** Whether tasks called `b` fail for good at the moment. */
let broken = false;
let pool: Pool;
let removed = { jobs: 0, tasks: 0 };

const behaviour: Behaviour = (received, router) => {
  const { taskKey } = received.assignment;
  if (broken && taskKey === "b") {
    router.fail(received, "BROKEN", { retryable: false });
  } else if (taskKey === "list") {
    router.accept(received);
    router.complete(received, "[1,2]", "application/json");
  } else {
    echo(received, router);
  }
};

beforeAll(async () => {
  await harness.open();
  harness.agent({ agentId: "any", capabilities: ["x"], slots: 20, behaviour });
  const { url } = harness.database;
  pool = createPool({ url, max: 2, applicationName: "test", schema: "orchestrator" });
});
beforeEach(() => {
  broken = false;
  removed = { jobs: 0, tasks: 0 };
});
afterAll(async () => {
  await pool.close();
  await harness.close();
});

/** A remover with the rights of the running replica, or with these epochs instead of its own. */
async function remover(epochOf = (epoch: bigint) => epoch): Promise<JobRemover> {
  const { rows } = await harness.db.query<{ shard: number; owner: string; epoch: string }>(
    "SELECT shard, owner, epoch FROM shard_owners",
  );
  const shards = new Map(rows.map((row) => [row.shard, epochOf(BigInt(row.epoch))]));
  const replicaId = rows[0]?.owner ?? "";
  const ledger = { ownership: "owner" as const, shards, holdingOf: () => ({ replicaId, shards }) };
  const events = {
    removed: (jobs: number, tasks: number) => {
      removed = { jobs: removed.jobs + jobs, tasks: removed.tasks + tasks };
    },
  };
  return new JobRemover({ pool, ledger, events });
}

async function remove(): Promise<void> {
  await (await remover()).removeOlderThan(14 * DAY_MS, new AbortController().signal);
}

function uuidOf(id: string): string {
  return id.slice(id.indexOf("_") + 1);
}

/** Has a job's end be so many days ago. */
async function age(jobId: string, days: number): Promise<void> {
  await harness.db.query(
    "UPDATE jobs SET ended_at = now() - $2::int * interval '1 day' WHERE job_id = $1",
    [uuidOf(jobId), days],
  );
}

/** A job of `a -> b`, done. */
async function doneJob(): Promise<string> {
  const dependencies = [{ taskKey: "a", inputName: "a" }];
  const tasks = [
    { key: "a", capability: "x", input: text("in-a") },
    { key: "b", capability: "x", dependencies },
  ];
  const jobId = await harness.submit({ tasks });
  await harness.untilState(jobId, broken ? JobState.FAILED : JobState.COMPLETED);
  return jobId;
}

async function failedJob(): Promise<string> {
  broken = true;
  const jobId = await doneJob();
  broken = false;
  return jobId;
}

async function exists(jobId: string): Promise<boolean> {
  const { rows } = await harness.db.query("SELECT FROM jobs WHERE job_id = $1", [uuidOf(jobId)]);
  return rows.length === 1;
}

/** How many rows each table has that a job's tasks are in. */
async function rowsOf(taskIds: readonly string[]): Promise<Record<string, number>> {
  const places = {
    tasks: "task_id",
    task_states: "task_id",
    edges: "child_id",
    past_attempts: "task_id",
    dead_letters: "task_id",
    output_refs: "task_id",
    map_items: "task_id",
    task_closings: "task_id",
  };
  const counts: Record<string, number> = {};
  for (const [table, key] of Object.entries(places)) {
    const { rows } = await harness.db.query<{ count: number }>(
      `SELECT count(*)::int AS count FROM ${table} WHERE ${key} = ANY($1::uuid[])`,
      [taskIds.map(uuidOf)],
    );
    counts[table] = rows[0]?.count ?? 0;
  }
  return counts;
}

async function taskIdsOf(jobId: string): Promise<string[]> {
  return Object.values(await harness.tasksOf(jobId)).map(({ taskId }) => taskId);
}

describe("a job that ended long ago", () => {
  it("is NOT_FOUND to a repeated call about it, and is told to one that made it", async () => {
    const failed = await failedJob();
    const order = { requestId: ids.next(), jobId: failed };
    const { job: next } = await harness.client.retryJob(order);
    await harness.untilState(next?.jobId ?? "", JobState.COMPLETED);
    const done = await doneJob();
    const calls = [
      (one: { requestId: string; jobId: string }) => harness.client.cancelJob(one),
      (one: { requestId: string; jobId: string }) => harness.client.pauseJob(one),
      (one: { requestId: string; jobId: string }) => harness.client.resumeJob(one),
    ];
    const orders = calls.map((call) => ({ call, one: { requestId: ids.next(), jobId: done } }));
    for (const { call, one } of orders) {
      expect((await call(one)).job?.state).toBe(JobState.COMPLETED);
    }
    for (const jobId of [failed, done]) await age(jobId, 15);
    await remove();
    for (const { call, one } of orders) await expectError(call(one), "not_found", "JOB_NOT_FOUND");
    expect((await harness.client.retryJob(order)).job?.jobId).toBe(next?.jobId);
  });

  it("is removed with every row of its tasks, and is NOT_FOUND from then on", async () => {
    const each = {
      key: "each",
      capability: "x",
      map: { source: "list", itemName: "item" },
      dependencies: [{ taskKey: "list" }],
    };
    const list = { key: "list", capability: "x", scheduleToCloseTimeout: { seconds: 600n } };
    const jobId = await harness.submit({ tasks: [list, each] });
    await harness.untilState(jobId, JobState.COMPLETED);
    const old = await failedJob();
    const kept = await doneJob();
    const gone = [...(await taskIdsOf(jobId)), ...(await taskIdsOf(old))];
    const before = await rowsOf(gone);
    expect(before).toMatchObject({ dead_letters: 1, map_items: 2, task_closings: 1 });
    const keptRows = await rowsOf(await taskIdsOf(kept));
    await age(jobId, 15);
    await age(old, 15);
    await age(kept, 13);
    await remove();
    expect(removed).toEqual({ jobs: 2, tasks: gone.length });
    expect(new Set(Object.values(await rowsOf(gone)))).toEqual(new Set([0]));
    for (const one of [jobId, old]) {
      await expectError(harness.client.getJob({ jobId: one }), "not_found", "JOB_NOT_FOUND");
      const again = harness.client.replayJob({ requestId: ids.next(), jobId: one, taskKey: "b" });
      await expectError(again, "not_found", "JOB_NOT_FOUND");
    }
    await expectError(
      harness.client.getTask({ taskId: gone[0] ?? "" }),
      "not_found",
      "TASK_NOT_FOUND",
    );
    const { deadLetters } = await harness.client.listDeadLetters({ filter: { jobId: old } });
    expect(deadLetters).toEqual([]);
    expect((await harness.client.getJob({ jobId: kept })).job?.state).toBe(JobState.COMPLETED);
    expect(await rowsOf(await taskIdsOf(kept))).toEqual(keptRows);
  });

  it("is kept while a later generation is, whose outputs it holds", async () => {
    const jobId = await failedJob();
    const { job } = await harness.client.retryJob({ requestId: ids.next(), jobId });
    const later = job?.jobId ?? "";
    await harness.untilState(later, JobState.COMPLETED);
    await age(jobId, 15);
    await remove();
    expect(await exists(jobId)).toBe(true);
    const { task } = await harness.client.getTask({
      taskId: (await harness.tasksOf(later))["a"]?.taskId ?? "",
    });
    expect(task?.output).toBeDefined();
    await age(later, 15);
    await remove();
    expect(await exists(later)).toBe(false);
    await remove();
    expect(await exists(jobId)).toBe(false);
  });

  it("is kept while a job is that a dead letter of it became", async () => {
    const jobId = await failedJob();
    const letterId = (await harness.tasksOf(jobId))["b"]?.taskId ?? "";
    const { redrives } = await harness.client.redriveDeadLetters({
      requestId: ids.next(),
      taskIds: [letterId],
    });
    const made = redrives[0]?.jobId ?? "";
    await harness.untilState(made, JobState.COMPLETED);
    await age(jobId, 15);
    await remove();
    expect(await exists(jobId)).toBe(true);
    await age(made, 15);
    await remove();
    await remove();
    expect([await exists(made), await exists(jobId)]).toEqual([false, false]);
  });

  it("is kept while somebody holds it to run it again, and an open job whatever its age", async () => {
    const jobId = await failedJob();
    await age(jobId, 15);
    const open = await harness.submit({ tasks: [{ key: "a", capability: "nobody" }] });
    await harness.db.query(
      "UPDATE jobs SET created_at = now() - interval '99 days' WHERE job_id = $1",
      [uuidOf(open)],
    );
    const holder = await harness.db.connect();
    try {
      await holder.query("BEGIN");
      await holder.query("SELECT FROM jobs WHERE job_id = $1 FOR KEY SHARE", [uuidOf(jobId)]);
      await remove();
      expect([await exists(jobId), await exists(open)]).toEqual([true, true]);
    } finally {
      await holder.query("ROLLBACK");
      holder.release();
    }
    await remove();
    expect([await exists(jobId), await exists(open)]).toEqual([false, true]);
  });

  it("is removed though another one cannot be", async () => {
    const stuck = await doneJob();
    const old = await doneJob();
    await age(stuck, 16);
    await age(old, 15);
    await harness.db.query(`
      CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'this one stays'; END $$`);
    await harness.db.query(
      `CREATE TRIGGER keep BEFORE DELETE ON jobs FOR EACH ROW WHEN (OLD.job_id = '${uuidOf(stuck)}') EXECUTE FUNCTION keep()`,
    );
    // A page of its own.
    await harness.db.query("UPDATE jobs SET total = 2000, succeeded = 2000 WHERE job_id = $1", [
      uuidOf(stuck),
    ]);
    try {
      await expect(remove()).rejects.toThrow();
      expect([await exists(stuck), await exists(old)]).toEqual([true, false]);
    } finally {
      await harness.db.query("DROP TRIGGER keep ON jobs");
    }
    await remove();
    expect(await exists(stuck)).toBe(false);
  });

  it("is removed by nobody who lost its shard", async () => {
    const jobId = await doneJob();
    await age(jobId, 15);
    const stale = await remover((epoch) => epoch - 1n);
    const tried = stale.removeOlderThan(14 * DAY_MS, new AbortController().signal);
    await expect(tried).rejects.toMatchObject({ reason: notOwner("").reason });
    expect(await exists(jobId)).toBe(true);
  });

  it("is found behind any number that have to stay", async () => {
    const needed = await failedJob();
    const { job } = await harness.client.retryJob({ requestId: ids.next(), jobId: needed });
    await harness.untilState(job?.jobId ?? "", JobState.COMPLETED);
    await age(needed, 20);
    // More than one look takes, all of them earlier generations of a young one.
    await harness.db.query(
      `INSERT INTO jobs (job_id, shard, namespace, principal_id, objective, priority, labels, traceparent, state, total,
                         blocked, ready, cancelled, ended_at, generation, origin_job_id)
       SELECT (left($1, 20) || lpad(to_hex(n), 12, '0'))::uuid, shard, namespace, principal_id, objective, priority, labels,
              traceparent, 'CANCELLED', 0, 0, 0, 0, now() - interval '19 days', -n, origin_job_id
         FROM generate_series(1, 600) AS n, jobs WHERE job_id = $2`,
      [uuidOf(needed), uuidOf(job?.jobId ?? "")],
    );
    const old = await doneJob();
    await age(old, 15);
    await remove();
    expect([await exists(needed), await exists(old)]).toEqual([true, false]);
  });
});
