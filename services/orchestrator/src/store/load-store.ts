/** Brings what waits and runs in some shards into memory, when this replica takes them. */
import type { Queryable } from "@nexus/postgres";
import { type Lease, waitMsOf } from "../domain/live-task.ts";
import { TaskPacker, type WaitingTask } from "../domain/waiting-task.ts";
import { countBlocked } from "./blocked-store.ts";
import { readDecision, type StoredDecision } from "./decision-row.ts";
import { LIVE_TASK_COLUMNS, type LiveTaskRow, toLiveTask } from "./live-task-row.ts";
import { jobUuid } from "./row-ids.ts";
import { WAITS } from "./state-row.ts";
import { pagesByTasks } from "./task-pages.ts";
import { FIRST_JOB, findWaitingJobs } from "./waiting-reader.ts";

/** Most jobs that are read at a time. */
const PAGE_JOBS = 5_000;
/** Most tasks of them, unless one job has more. */
const PAGE_TASKS = 5_000;

const WAITING_OF_JOBS = `
  SELECT ${LIVE_TASK_COLUMNS}
    FROM jobs j JOIN tasks t USING (job_id) LEFT JOIN task_states s USING (task_id)
   WHERE j.job_id = ANY($1::uuid[]) AND ${WAITS}`;

/** Jobs of which tasks run. There are no more of them than agents have slots, but each may have many tasks. */
const BUSY_JOBS = `
  SELECT job_id, total FROM jobs WHERE shard = ANY($1::smallint[]) AND ended_at IS NULL AND active > 0`;

const LEASES_OF_JOBS = `
  SELECT ${LIVE_TASK_COLUMNS}, s.fence, s.agent_epoch, s.capability_version, s.leased_at, s.decision,
         s.state = 'RUNNING' AS running
    FROM jobs j JOIN tasks t USING (job_id) JOIN task_states s USING (task_id)
   WHERE j.job_id = ANY($1::uuid[]) AND s.fence <> 0`;

interface LeaseRow extends LiveTaskRow {
  readonly fence: string;
  readonly agent_epoch: string;
  readonly capability_version: string;
  readonly leased_at: Date;
  readonly decision: StoredDecision;
  readonly running: boolean;
}

/** Everything that waits or runs, as stored. */
export interface StoredWork {
  readonly ready: readonly WaitingTask[];
  readonly leases: readonly Lease[];
  /** How many tasks wait for other tasks, by namespace. */
  readonly blocked: ReadonlyMap<string, number>;
  /** One moment on two clocks: the database's, epoch milliseconds, and this process's own, monotonic. */
  readonly nowMs: number;
  readonly readAtMs: number;
}

/** Reads all waiting and running work of the shards, in pages; of a page only what the queue keeps stays in memory.
 *
 * `nowMs` is the monotonic clock, on which the delays that the database's clock still demands are put. */
export async function loadWork(
  client: Queryable,
  shards: readonly number[],
  nowMs: () => number,
): Promise<StoredWork> {
  const { rows } = await client.query<{ now_ms: number }>(
    "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::float8 AS now_ms",
  );
  const readAtMs = nowMs();
  const databaseNowMs = rows[0]?.now_ms ?? 0;
  const packer = new TaskPacker();
  const toWaiting = (row: LiveTaskRow) => {
    const task = toLiveTask(row);
    const readyAtMs = readAtMs + task.readyAtMs - databaseNowMs;
    return packer.pack(task, Math.max(readAtMs, readyAtMs), readyAtMs + waitMsOf(task));
  };
  const ready = await readWaiting(client, shards, toWaiting);
  const leases = await readLeases(client, shards);
  const blocked = await countBlocked(client, shards);
  return { ready, leases, blocked, nowMs: databaseNowMs, readAtMs };
}

/** What waits is found through the jobs that count any of it, as most of it has no row that says so. */
async function readWaiting(
  client: Queryable,
  shards: readonly number[],
  toWaiting: (row: LiveTaskRow) => WaitingTask,
): Promise<WaitingTask[]> {
  const all: WaitingTask[] = [];
  for (let after = FIRST_JOB, more = true; more; ) {
    const jobs = await findWaitingJobs(client, shards, { after, limit: PAGE_JOBS });
    for (const page of pagesByTasks(jobs, PAGE_TASKS)) {
      const { rows } = await client.query<LiveTaskRow>(WAITING_OF_JOBS, [page.map(jobUuid)]);
      for (const row of rows) all.push(toWaiting(row));
    }
    after = jobs.at(-1) ?? after;
    more = jobs.length === PAGE_JOBS;
  }
  return all;
}

/** A lease lies in its task's row, which is found by its job. */
async function readLeases(client: Queryable, shards: readonly number[]): Promise<Lease[]> {
  const all: Lease[] = [];
  const busy = await client.query<{ job_id: string; total: number }>(BUSY_JOBS, [shards]);
  const jobs = busy.rows.map((row) => ({ jobId: row.job_id, total: row.total }));
  for (const page of pagesByTasks(jobs)) {
    const { rows } = await client.query<LeaseRow>(LEASES_OF_JOBS, [page]);
    for (const row of rows) all.push(toLease(row));
  }
  return all;
}

function toLease(row: LeaseRow): Lease {
  return {
    // The attempt under way is not behind it yet: a lease keeps the tally from before.
    task: { ...toLiveTask(row), attempts: row.attempts - 1 },
    fence: BigInt(row.fence),
    attempt: row.attempts,
    agentId: row.last_agent_id,
    agentEpoch: BigInt(row.agent_epoch),
    capabilityVersion: row.capability_version,
    fallbackAgentId: readDecision(row.decision, row.last_agent_id).fallbackAgentId,
    leasedAtMs: row.leased_at.getTime(),
    running: row.running,
  };
}
