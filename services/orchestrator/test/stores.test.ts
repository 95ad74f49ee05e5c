import { createPool, type Pool, withTransaction } from "@nexus/postgres";
import { createIds } from "@nexus/shared";
import { createTestDatabase, type TestDatabase, waitFor } from "@nexus/testkit";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { JobDeltas } from "../src/domain/job-deltas.ts";
import type { JobEvents } from "../src/domain/job-event.ts";
import type { LiveTask } from "../src/domain/live-task.ts";
import { settle } from "../src/domain/settlement.ts";
import { DEFAULT_RETRY, type TaskSpec } from "../src/domain/task.ts";
import { unpackTask } from "../src/domain/waiting-task.ts";
import { acceptTasks } from "../src/store/accept-store.ts";
import { cancelOpenTasks } from "../src/store/cancel-store.ts";
import { claimTasks, type Granted, type GrantedLease } from "../src/store/claim-store.ts";
import { applyEffects } from "../src/store/effects-store.ts";
import { readEvents } from "../src/store/event-store.ts";
import { holdJobs, stepJobs } from "../src/store/job-progress-store.ts";
import { readJob } from "../src/store/job-reader.ts";
import { loadWork } from "../src/store/load-store.ts";
import { withholdTasks } from "../src/store/pause-store.ts";
import { isRefused } from "../src/store/refusals.ts";
import { jobUuid, taskUuid } from "../src/store/row-ids.ts";
import { settleLeases } from "../src/store/settle-store.ts";
import { makeStateRows } from "../src/store/state-row.ts";
import { expectError } from "./_expect.ts";
import { claimOf, insertJob } from "./_stored-jobs.ts";
import { spec } from "./_task-spec.ts";

const ids = createIds();
let database: TestDatabase;
let pool: Pool;

beforeAll(async () => {
  database = await createTestDatabase("orchestrator");
  pool = openPool();
});
afterAll(async () => {
  await pool.close();
  await database.close();
});

function openPool(): Pool {
  return createPool({
    url: database.url,
    max: 4,
    applicationName: "stores-test",
    schema: database.schema,
  });
}

const newJob = (...specs: TaskSpec[]) => insertJob(pool, ...specs);

/** Leases tasks and counts them in their jobs, as the claimer does. */
async function lease(tasks: readonly LiveTask[]): Promise<Map<string, GrantedLease>> {
  const granted = await claimTasks(
    pool,
    tasks.map((task) => claimOf(task)),
  );
  const deltas = new JobDeltas();
  for (const task of tasks) {
    deltas.move(task.jobId, "READY", "LEASED");
    deltas.event(task.jobId, "TASK_LEASED");
  }
  await applyEffects(pool, [], deltas);
  return byTask(tasks, granted);
}

/** What was granted, by task. */
function byTask(tasks: readonly LiveTask[], granted: Granted): Map<string, GrantedLease> {
  return new Map(
    tasks.flatMap(({ taskId }, i) => (granted[i] === undefined ? [] : [[taskId, granted[i]]])),
  );
}

/** The states that were told, in order. */
function statesOf(events: readonly JobEvents[]): string[] {
  return events.flatMap(({ changes }) => changes.map(({ state }) => state));
}

/** How many there are of what may be missing. */
function countOf(found: readonly unknown[]): number {
  return found.filter((one) => one !== undefined).length;
}

const POLICY = { retry: DEFAULT_RETRY, uncostedAttemptsMax: 10, random: () => 0 };
const OUTPUT = { contentType: "text/plain", data: Buffer.from("out") };

function completed(task: LiveTask, fence: bigint) {
  return {
    taskId: task.taskId,
    fence,
    settlement: settle({ kind: "COMPLETED", output: OUTPUT }, { attempts: 1, charged: 0 }, POLICY),
    capability: "x",
    startedAgoMs: undefined,
  };
}

function succeeded(task: LiveTask) {
  return {
    from: "RUNNING" as const,
    sink: task.sink,
    change: {
      kind: "task" as const,
      jobId: task.jobId,
      taskId: task.taskId,
      taskKey: task.key,
      state: "SUCCEEDED" as const,
      attempt: 1,
      agentId: "agent",
      failure: undefined,
    },
  };
}

const uuidOf = ({ taskId }: LiveTask) => taskId.slice("task_".length);
const FAILURE = { reason: "JOB_CANCELLED", message: "", taskKey: "" };

/** Waits until so many statements of this database wait for a lock. */
function untilBlocked(statements: number): Promise<boolean> {
  const text = `pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`;
  return waitFor(async () => (await count(text)) === statements, {
    what: "a lock to be waited for",
  });
}

async function count(table: string): Promise<number> {
  const { rows } = await pool.query<{ n: number }>(`SELECT count(*)::int AS n FROM ${table}`);
  return rows[0]?.n ?? 0;
}

describe("the counters of jobs", () => {
  it("are not stored by a transaction that moves fewer jobs than it means to", async () => {
    const { jobId } = await newJob(spec("a"));
    const run = withTransaction(pool, async (client) => {
      const held = await holdJobs(client, new Set([jobId]));
      const cancelled = "UPDATE jobs SET state = 'CANCELLED', ended_at = now() WHERE job_id = $1";
      await client.query(cancelled, [jobUuid(jobId)]);
      const deltas = new JobDeltas();
      deltas.move(jobId, "READY", "LEASED");
      const { write } = await stepJobs(client, deltas.all, held);
      await client.commitWith(write());
    });
    await expect(run).rejects.toSatisfy((error) => isRefused(error, "miscounted"));
    expect((await readJob(pool, "default", jobId))?.state).toBe("PENDING");
  });
});

describe("a claim of a task whose job is not stored", () => {
  it("is refused with its transaction", async () => {
    const { ready } = await newJob(spec("a"));
    const [task] = ready as [LiveTask];
    const stranger = { ...task, taskId: ids.next("task"), jobId: ids.next("job") };
    const call = withTransaction(pool, async (client) => {
      await claimTasks(client, [claimOf(stranger)]);
      const deltas = new JobDeltas();
      deltas.move(stranger.jobId, "READY", "LEASED");
      await applyEffects(client, [], deltas);
    });
    await expectError(call, "internal", "INTERNAL");
    expect(await count(`task_states WHERE task_id = '${uuidOf(stranger)}'`)).toBe(0);
  });
});

describe("the claim", () => {
  it("moves each row once, however many ask for it, with a fence that only grows", async () => {
    const { ready } = await newJob(...Array.from({ length: 50 }, (_, i) => spec(`t${i}`)));
    const before = { ready: await count("ready"), leases: await count("leases") };
    const claims = ready.map((task) => claimOf(task));
    const answers = await Promise.all([claimTasks(pool, claims), claimTasks(pool, claims)]);
    const granted = answers.flatMap((answer) => answer.flatMap((lease) => lease ?? []));
    expect(granted).toHaveLength(50);
    expect(new Set(granted.map(({ fence }) => fence)).size).toBe(50);
    expect(await count("ready")).toBe(before.ready - 50);
    expect(await count("leases")).toBe(before.leases + 50);
  });

  it("leaves out a task that does not wait, and gives the rest", async () => {
    const { ready } = await newJob(spec("a"), spec("b"));
    const [a, b] = ready as [LiveTask, LiveTask];
    await lease([a]);
    const granted = await claimTasks(pool, [claimOf(a), claimOf(b)]);
    expect(granted).toEqual([undefined, expect.objectContaining({ attempt: 1 })]);
  });

  it("makes the state row of a task that was never leased, and changes that of one that was", async () => {
    const { ready } = await newJob(spec("a"));
    const [task] = ready as [LiveTask];
    const rowsOf = () => count(`task_states WHERE task_id = '${uuidOf(task)}'`);
    expect(await rowsOf()).toBe(0);
    const first = (await lease([task])).get(task.taskId);
    expect(first?.attempt).toBe(1);
    const failed = { kind: "FAILED", reason: "X", message: "m", retryable: true } as const;
    const settlement = settle(failed, { attempts: 1, charged: 0 }, POLICY);
    await settleLeases(pool, [{ ...completed(task, first?.fence ?? 0n), settlement }]);
    const [second] = await claimTasks(pool, [claimOf(task)]);
    expect(second?.attempt).toBe(2);
    expect(second?.fence).toBeGreaterThan(first?.fence ?? 0n);
    expect(await rowsOf()).toBe(1);
  });

  it("gives each task that memory takes for new a row with a fence of its own", async () => {
    const { ready } = await newJob(...Array.from({ length: 20 }, (_, i) => spec(`t${i}`)));
    const claims = ready.map((task, i) => claimOf(task, `agent${i}`));
    const granted = await claimTasks(pool, claims, true);
    expect(countOf(granted)).toBe(20);
    const { rows } = await pool.query(
      "SELECT agent_id, fence, attempts FROM task_states WHERE job_id = $1 ORDER BY fence",
      [jobUuid((ready[0] as LiveTask).jobId)],
    );
    const fences = granted.map((lease, i) => {
      return { agent_id: `agent${i}`, fence: lease?.fence.toString(), attempts: 1 };
    });
    expect(rows).toEqual(fences);
  });

  it("is refused as a whole where memory takes a task for new that has a row, and can look instead", async () => {
    const { ready } = await newJob(spec("a"), spec("b"), spec("c"));
    const [, touched, freed] = ready as [LiveTask, LiveTask, LiveTask];
    await makeStateRows(pool, [touched.taskId, freed.taskId]);
    const claims = ready.map((task) => claimOf(task));
    await expectError(claimTasks(pool, claims, true), "exists", "ALREADY_EXISTS");
    expect(await count(`task_states WHERE job_id = '${jobUuid(touched.jobId)}'`)).toBe(2);
    const { isNew: _, ...known } = freed;
    expect(countOf(await claimTasks(pool, [claimOf(known)], true))).toBe(1);
    expect(countOf(await claimTasks(pool, claims))).toBe(2);
  });

  it("gives each claim its own lease where memory takes some tasks for new and others not", async () => {
    const { ready } = await newJob(...["a", "b", "c", "d", "e"].map((key) => spec(key)));
    const [, old, , gone] = ready as [LiveTask, LiveTask, LiveTask, LiveTask];
    await makeStateRows(pool, [old.taskId]);
    await lease([gone]);
    const tasks = ready.map((task): LiveTask => {
      const { isNew: _, ...known } = task;
      return task === old || task === gone ? known : { ...known, isNew: true };
    });
    const claims = tasks.map((task) => claimOf(task));
    const granted = byTask(tasks, await claimTasks(pool, claims, true));
    expect([...granted.keys()]).toEqual(
      ready.filter((task) => task !== gone).map(({ taskId }) => taskId),
    );
    for (const [taskId, { fence }] of granted) {
      const row = `task_states WHERE task_id = '${taskUuid(taskId)}' AND fence = ${fence}`;
      expect(await count(row)).toBe(1);
    }
  });

  it("leaves out what was cancelled or is withheld", async () => {
    const { jobId, ready } = await newJob(spec("a"));
    const { ready: others } = await newJob(spec("b"), spec("c"));
    const [cancelled] = ready as [LiveTask];
    const [withheld, waiting] = others as [LiveTask, LiveTask];
    await withTransaction(pool, (client) => cancelOpenTasks(client, jobId, FAILURE));
    await withholdTasks(pool, [withheld.taskId]);
    const claims = [cancelled, withheld, waiting].map((task) => claimOf(task));
    const granted = await claimTasks(pool, claims);
    expect(granted.map((lease) => lease?.attempt)).toEqual([undefined, undefined, 1]);
    expect(await count(`leases WHERE task_id = '${uuidOf(waiting)}'`)).toBe(1);
  });

  it("is waited for by a cancel of the same moment, which then finds the lease", async () => {
    const { jobId, ready } = await newJob(spec("a"));
    const [task] = ready as [LiveTask];
    const { cancelled } = await withTransaction(pool, async (claiming) => {
      await claimTasks(claiming, [claimOf(task)]);
      const cancelled = withTransaction(pool, (client) => cancelOpenTasks(client, jobId, FAILURE));
      await untilBlocked(1);
      return { cancelled };
    });
    const [found] = await cancelled;
    expect(found).toMatchObject({ from: "LEASED", change: { attempt: 1, agentId: "agent" } });
    expect(await count(`leases WHERE task_id = '${uuidOf(task)}'`)).toBe(0);
  });

  it("waits for a cancel of the same moment, and then grants nothing", async () => {
    const { jobId, ready } = await newJob(spec("a"));
    const [task] = ready as [LiveTask];
    const { granted } = await withTransaction(pool, async (cancelling) => {
      await cancelOpenTasks(cancelling, jobId, FAILURE);
      const granted = claimTasks(pool, [claimOf(task)]);
      await untilBlocked(1);
      return { granted };
    });
    expect(await granted).toEqual([undefined]);
    const { rows } = await pool.query("SELECT state, fence FROM task_states WHERE task_id = $1", [
      uuidOf(task),
    ]);
    expect(rows).toEqual([{ state: "CANCELLED", fence: "0" }]);
  });
});

describe("the end of leases", () => {
  it("is refused to a fence that is not the live one, and changes nothing", async () => {
    const { ready } = await newJob(spec("a"));
    const [task] = ready as [LiveTask];
    const { fence } = (await lease([task])).get(task.taskId) as GrantedLease;
    expect(await settleLeases(pool, [completed(task, fence + 1n)])).toEqual([undefined]);
    expect(await settleLeases(pool, [completed(task, fence - 1n)])).toEqual([undefined]);
    expect(await acceptTasks(pool, [{ taskId: task.taskId, fence: fence + 1n, agoMs: 0 }])).toEqual(
      new Set(),
    );
    expect(countOf(await settleLeases(pool, [completed(task, fence)]))).toBe(1);
    expect(countOf(await settleLeases(pool, [completed(task, fence)]))).toBe(0);
  });

  it("counts two parents of one child in one batch, and unblocks it once", async () => {
    const { jobId, ready } = await newJob(
      spec("a"),
      spec("b"),
      spec("c"),
      spec("child", "a", "b"),
      spec("late", "a", "b", "c"),
    );
    const granted = await lease(ready);
    const two = ready.slice(0, 2);
    await settleLeases(
      pool,
      two.map((task) => completed(task, granted.get(task.taskId)?.fence ?? 0n)),
    );
    const { unblocked, events } = await applyEffects(pool, two.map(succeeded));
    expect(unblocked.map((task) => task.key)).toEqual(["child"]);
    expect(unblocked[0]).toMatchObject({ jobId, attempts: 0, sink: true, avoidAgentId: "" });
    expect(statesOf(events)).toEqual(["SUCCEEDED", "SUCCEEDED", "READY"]);
    const { rows } = await pool.query(
      "SELECT task_key, state, pending FROM task_states JOIN tasks USING (task_id) WHERE tasks.job_id = $1 AND sink",
      [jobId.slice("job_".length)],
    );
    expect(rows).toEqual(
      expect.arrayContaining([
        { task_key: "child", state: "READY", pending: 0 },
        { task_key: "late", state: "BLOCKED", pending: 1 },
      ]),
    );
  });

  it("computes the job's end with its last task, in the order of events", async () => {
    const { jobId, ready } = await newJob(spec("a"), spec("b"));
    const granted = await lease(ready);
    const ends = ready.map((task) => completed(task, granted.get(task.taskId)?.fence ?? 0n));
    await settleLeases(pool, ends);
    const { events } = await applyEffects(pool, ready.map(succeeded));
    expect(statesOf(events)).toEqual(["SUCCEEDED", "SUCCEEDED", "COMPLETED"]);
    const job = await readJob(pool, "default", jobId);
    expect(job).toMatchObject({
      state: "COMPLETED",
      counts: { total: 2, succeeded: 2, active: 0 },
    });
    expect(job?.endedAt).toBeDefined();
    const since = job?.createdAt ?? new Date();
    const page = { since, limit: 100 };
    const stored = await readEvents(pool, jobId, 0n, page);
    expect(stored.map(({ change }) => change.state)).toEqual([
      "RUNNING",
      "SUCCEEDED",
      "SUCCEEDED",
      "COMPLETED",
    ]);
    const tail = await readEvents(pool, jobId, stored[1]?.sequence ?? 0n, page);
    expect(tail).toEqual(stored.slice(2));
  });

  it("puts a retried task back with its delay, and remembers whom to avoid", async () => {
    const { ready } = await newJob(spec("retry-me"));
    const [task] = ready as [LiveTask];
    const { fence } = (await lease([task])).get(task.taskId) as GrantedLease;
    const failed = { kind: "FAILED", reason: "X", message: "m", retryable: true } as const;
    const settlement = settle(failed, { attempts: 1, charged: 0 }, POLICY);
    await settleLeases(pool, [{ ...completed(task, fence), settlement }]);
    // As the owner of the job counts it.
    await pool.query("UPDATE jobs SET ready = 1, active = 0 WHERE job_id = $1", [
      jobUuid(task.jobId),
    ]);
    const work = await loadWork(pool, [...Array(64).keys()], () => 1_000_000);
    const waiting = work.ready.find((found) => found.taskId === task.taskId);
    if (waiting === undefined) throw new Error("it does not wait");
    const loaded = { attempts: 1, charged: 1, avoidAgentId: "agent" };
    expect(unpackTask(waiting)).toMatchObject(loaded);
    // The delay of the database's clock, on the monotonic one.
    expect(waiting.cohort.sinceMs).toBeGreaterThan(1_000_500);
    expect(waiting.cohort.sinceMs).toBeLessThan(1_010_000);
  });
});
