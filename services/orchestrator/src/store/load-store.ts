/** Brings what waits and runs in some shards into memory, when this replica takes them. */
import type { Queryable } from "@nexus/postgres";
import type { Lease } from "../domain/live-task.ts";
import type { RoutingDecision } from "../domain/routing-decision.ts";
import { TaskPacker, type WaitingTask } from "../domain/waiting-task.ts";
import { countBlocked } from "./blocked-store.ts";
import { LIVE_TASK_COLUMNS, type LiveTaskRow, toLiveTask } from "./live-task-row.ts";

const PAGE_ROWS = 5_000;
const FIRST_UUID = "00000000-0000-0000-0000-000000000000";

const READY_PAGE = `
  SELECT ${LIVE_TASK_COLUMNS}
    FROM ready r JOIN tasks t USING (task_id) JOIN task_states s USING (task_id) JOIN jobs j ON j.job_id = t.job_id
   WHERE r.shard = ANY($1::smallint[]) AND r.task_id > $2
   ORDER BY r.task_id
   LIMIT $3`;

const LEASE_PAGE = `
  SELECT ${LIVE_TASK_COLUMNS}, l.fence, l.attempt, l.agent_id, l.agent_epoch, l.capability_version, l.leased_at,
         l.decision, s.state = 'RUNNING' AS running
    FROM leases l JOIN tasks t USING (task_id) JOIN task_states s USING (task_id) JOIN jobs j ON j.job_id = t.job_id
   WHERE l.shard = ANY($1::smallint[]) AND l.task_id > $2
   ORDER BY l.task_id
   LIMIT $3`;

interface LeaseRow extends LiveTaskRow {
  readonly fence: string;
  readonly attempt: number;
  readonly agent_id: string;
  readonly agent_epoch: string;
  readonly capability_version: string;
  readonly leased_at: Date;
  readonly decision: RoutingDecision;
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
    return packer.pack(task, readAtMs + Math.max(0, task.readyAtMs - databaseNowMs));
  };
  const ready = await readPages(client, { text: READY_PAGE, shards, toItem: toWaiting });
  const leases = await readPages(client, { text: LEASE_PAGE, shards, toItem: toLease });
  const blocked = await countBlocked(client, shards);
  return { ready, leases, blocked, nowMs: databaseNowMs, readAtMs };
}

interface Pages<R, T> {
  readonly text: string;
  readonly shards: readonly number[];
  readonly toItem: (row: R) => T;
}

async function readPages<R extends { readonly task_id: string }, T>(
  client: Queryable,
  { text, shards, toItem }: Pages<R, T>,
): Promise<T[]> {
  const all: T[] = [];
  let after = FIRST_UUID;
  for (;;) {
    const { rows } = await client.query<R>(text, [shards, after, PAGE_ROWS]);
    for (const row of rows) all.push(toItem(row));
    const last = rows.at(-1);
    if (last === undefined || rows.length < PAGE_ROWS) return all;
    after = last.task_id;
  }
}

function toLease(row: LeaseRow): Lease {
  return {
    // The attempt under way is not behind it yet: a lease keeps the tally from before.
    task: { ...toLiveTask(row), attempts: row.attempt - 1 },
    fence: BigInt(row.fence),
    attempt: row.attempt,
    agentId: row.agent_id,
    agentEpoch: BigInt(row.agent_epoch),
    capabilityVersion: row.capability_version,
    fallbackAgentId: row.decision.fallbackAgentId,
    leasedAtMs: row.leased_at.getTime(),
    running: row.running,
  };
}
