import { cpSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createPool, migrate, type Pool } from "@nexus/postgres";
import { createTestDatabase, type TestDatabase } from "@nexus/testkit";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { toJobEvents } from "../src/domain/job-event.ts";
import { unpackTask } from "../src/domain/waiting-task.ts";
import { judgeWaits } from "../src/store/due-store.ts";
import { appendEvents, readEvents } from "../src/store/event-store.ts";
import { loadWork } from "../src/store/load-store.ts";
import { readAttempts } from "../src/store/task-reader.ts";

const ALL = join(import.meta.dirname, "../migrations");
const SCHEMA = "older";
const JOB = "00000000-0000-7000-8000-000000000001";
const RUNNING = "00000000-0000-7000-8000-000000000101";
const ENDED = "00000000-0000-7000-8000-000000000201";
const WAITING = "00000000-0000-7000-8000-000000000301";
const RESUMED = "00000000-0000-7000-8000-000000000401";
const WITHHELD = "00000000-0000-7000-8000-000000000501";
const idOf = (uuid: string) => `task_${uuid.replaceAll("-", "")}`;

let database: TestDatabase;
let pool: Pool;

beforeAll(async () => {
  database = await createTestDatabase("orchestrator");
});
beforeEach(async () => {
  pool = createPool({
    url: database.adminUrl,
    max: 1,
    applicationName: "migrations-test",
    schema: SCHEMA,
  });
  await pool.query(`CREATE SCHEMA ${SCHEMA}`);
});
afterEach(async () => {
  await pool.query(`DROP SCHEMA ${SCHEMA} CASCADE`);
  await pool.close();
});
afterAll(() => database.close());

/** Applies the migrations up to and with this one. */
async function migrateTo(last: string): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), "nexus-migrations-"));
  for (const name of readdirSync(ALL)) {
    if (name.slice(0, last.length) <= last) cpSync(join(ALL, name), join(directory, name));
  }
  try {
    await migrate(pool, { schema: SCHEMA, directory });
  } finally {
    rmSync(directory, { recursive: true });
  }
}

describe("tables of before leases lay in their tasks' rows", () => {
  it("keep what runs, with its lease, and what had ended, with its attempts", async () => {
    await migrateTo("0017");
    const decision = JSON.stringify({
      agentId: "a1",
      score: 0.123456,
      fallbackAgentId: "a2",
      fallbackScore: 0.1,
      eligible: 2,
      rejections: [],
      exploration: false,
    });
    await pool.query(`
      INSERT INTO jobs (job_id, shard, namespace, principal_id, objective, priority, labels, traceparent, state,
                        total, blocked, ready, active, succeeded)
      VALUES ('${JOB}', 1, 'default', 'p', '', 0, '{}', '', 'RUNNING', 2, 0, 0, 1, 1);
      INSERT INTO tasks (task_id, job_id, shard, namespace, ordinal, task_key, capability, priority, planning, sink,
                         has_upstream, spec)
      VALUES ('${RUNNING}', '${JOB}', 1, 'default', 0, 'a', 'x', 0, false, true, false, '{}'),
             ('${ENDED}', '${JOB}', 1, 'default', 1, 'b', 'x', 0, false, true, false, '{}');
      INSERT INTO task_states (task_id, job_id, state, pending, attempts, fence, agent_id, ready_at, leased_at, ended_at)
      VALUES ('${RUNNING}', '${JOB}', 'LEASED', 0, 2, 7, 'a1', now(), now(), NULL),
             ('${ENDED}', '${JOB}', 'SUCCEEDED', 0, 1, 0, 'a1', now(), now(), now());
      INSERT INTO leases (task_id, shard, job_id, fence, namespace, agent_id, agent_epoch, attempt, capability_version,
                          ready_at, leased_at, deadline_at, decision)
      VALUES ('${RUNNING}', 1, '${JOB}', 7, 'default', 'a1', 3, 2, '1.0.0', now(), now(), now() + interval '1 hour',
              '${decision}');
      INSERT INTO attempts (task_id, attempt, fence, agent_id, agent_epoch, leased_at, ended_at, outcome, word, charged,
                            decision)
      VALUES ('${RUNNING}', 1, 5, 'a1', 3, now(), now(), 'LOST', '', false, '${decision}'),
             ('${ENDED}', 1, 6, 'a1', 3, now(), now(), 'SUCCEEDED', 'COMPLETED', false, '${decision}')`);
    await migrate(pool, { schema: SCHEMA, directory: ALL });

    const { leases, ready } = await loadWork(pool, [1], () => 0);
    expect(ready).toEqual([]);
    expect(leases).toMatchObject([
      { fence: 7n, attempt: 2, agentId: "a1", agentEpoch: 3n, capabilityVersion: "1.0.0" },
    ]);
    expect(leases[0]?.fallbackAgentId).toBe("a2");
    const running = await readAttempts(pool, idOf(RUNNING), 10);
    expect(running.map(({ fence, outcome }) => [fence, outcome])).toEqual([
      [5n, "LOST"],
      [7n, undefined],
    ]);
    expect(await readAttempts(pool, idOf(ENDED), 10)).toMatchObject([
      { fence: 6n, outcome: "SUCCEEDED", decision: { score: 0.123456, agentId: "a1" } },
    ]);
    const { rows } = await pool.query("SELECT shard, attempt FROM leases");
    expect(rows).toEqual([{ shard: 1, attempt: 2 }]);
  });
});

describe("tables of before waiting tasks had no row but their own", () => {
  it("keep what waits, and with what is left on whose clocks", async () => {
    await migrateTo("0024");
    const spec = JSON.stringify({ capability: "x", scheduleToStartMs: 3_600_000 });
    const tasks = [WAITING, RESUMED, WITHHELD];
    const values = tasks.map(
      (id, ordinal) =>
        `('${id}', '${JOB}', 1, 'default', ${ordinal}, 't${ordinal}', 'x', 0, false, true, false, '${spec}')`,
    );
    const states = tasks.map(
      (id) => `('${id}', '${JOB}', 'READY', 0, now() - interval '1 minute')`,
    );
    await pool.query(`
      INSERT INTO jobs (job_id, shard, namespace, principal_id, objective, priority, labels, traceparent, state,
                        total, blocked, ready, active, succeeded)
      VALUES ('${JOB}', 1, 'default', 'p', '', 0, '{}', '', 'PENDING', 3, 0, 3, 0, 0);
      INSERT INTO tasks (task_id, job_id, shard, namespace, ordinal, task_key, capability, priority, planning, sink,
                         has_upstream, spec)
      VALUES ${values.join(", ")};
      INSERT INTO task_states (task_id, job_id, state, pending, ready_at) VALUES ${states.join(", ")};
      INSERT INTO ready (task_id, shard, ready_at, start_by)
      SELECT task_id, 1, ready_at, ready_at + interval '1 hour' FROM task_states WHERE task_id = '${WAITING}'
       UNION ALL
      SELECT task_id, 1, ready_at, ready_at + interval '5 seconds' FROM task_states WHERE task_id = '${RESUMED}';
      INSERT INTO paused_ready (task_id, job_id, delay_ms, wait_ms) VALUES ('${WITHHELD}', '${JOB}', 7, 9)`);
    await migrate(pool, { schema: SCHEMA, directory: ALL });

    const { ready } = await loadWork(pool, [1], () => 0);
    const waits = ready.map((waiting) => unpackTask(waiting));
    expect(waits.map(({ taskId, waitMs }) => [taskId, waitMs])).toEqual([
      [idOf(WAITING), undefined],
      [idOf(RESUMED), 5_000],
    ]);
    const { overdue } = await judgeWaits(pool, tasks.map(idOf));
    expect(overdue).toEqual([idOf(RESUMED)]);
    const { rows } = await pool.query("SELECT task_id, delay_ms, wait_ms FROM paused_ready");
    expect(rows).toEqual([{ task_id: WITHHELD, delay_ms: "7", wait_ms: "9" }]);
  });
});

describe("tables of before changes were stored short", () => {
  it("keep the history that they have, beside what comes", async () => {
    await migrateTo("0026");
    const changes = [
      { state: "RUNNING" },
      { task: idOf(RUNNING), key: "a", state: "LEASED", attempt: 1, agent: "a1" },
      { task: idOf(ENDED), key: "b", state: "FAILED", reason: "R", message: "m", cause: "a" },
    ];
    await pool.query("INSERT INTO job_events (job_id, events, changes) VALUES ($1, 3, $2)", [
      JOB,
      JSON.stringify(changes),
    ]);
    await pool.query(
      "CREATE TABLE job_events_20200101 PARTITION OF job_events FOR VALUES FROM ('2020-01-01') TO ('2020-01-02')",
    );
    await migrate(pool, { schema: SCHEMA, directory: ALL });
    await pool.query(
      "CREATE TABLE job_events_20200102 PARTITION OF job_events FOR VALUES FROM ('2020-01-02') TO ('2020-01-03')",
    );

    const jobId = `job_${JOB.replaceAll("-", "")}`;
    const page = { since: new Date(0), limit: 10 };
    const before = await readEvents(pool, jobId, 0n, page);
    const failure = { reason: "R", message: "m", taskKey: "a" };
    expect(before.map(({ change }) => change)).toMatchObject([
      { kind: "job", state: "RUNNING", failure: undefined },
      { kind: "task", taskId: idOf(RUNNING), taskKey: "a", attempt: 1, agentId: "a1" },
      { kind: "task", taskId: idOf(ENDED), state: "FAILED", attempt: 0, agentId: "", failure },
    ]);
    const appended = await appendEvents(
      pool,
      before.map(({ change }) => change),
    );
    const told = appended.flatMap(toJobEvents);
    const after = await readEvents(pool, jobId, before.at(-1)?.sequence ?? 0n, page);
    expect(after.map(({ sequence }) => sequence)).toEqual(told.map(({ sequence }) => sequence));
    expect(after.map(({ change }) => change)).toEqual(before.map(({ change }) => change));
    const { rows } = await pool.query<{ sequence: string }>(
      "SELECT * FROM task_events ORDER BY sequence",
    );
    const shown = rows.map((row) => ({ ...row, sequence: "", created_at: undefined }));
    expect(shown.slice(3)).toEqual(shown.slice(0, 3));
    expect(rows.map(({ sequence }) => sequence)).toEqual(
      [...before, ...told].map(({ sequence }) => `${sequence}`),
    );
    const { rows: storage } = await pool.query(
      `SELECT relname, attstorage FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
        WHERE relname ~ '^job_events(_default|_2020010[12])$' AND attname = 'changes' AND relnamespace = '${SCHEMA}'::regnamespace
        ORDER BY relname`,
    );
    expect(storage).toEqual(
      ["job_events_20200101", "job_events_20200102", "job_events_default"].map((relname) => ({
        relname,
        attstorage: "e",
      })),
    );
  });
});
