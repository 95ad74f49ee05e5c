/** Brings what waits and runs in some shards into memory, when this replica takes them. */
import type { Queryable } from "@nexus/postgres";
import type { Lease, LiveTask } from "../domain/live-task.ts";
import type { RoutingDecision } from "../domain/routing-decision.ts";
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
  readonly ready: readonly LiveTask[];
  readonly leases: readonly Lease[];
  /** Tasks that wait for other tasks. */
  readonly blocked: number;
  /** The database's clock at the time of reading, epoch milliseconds. */
  readonly nowMs: number;
}

/** Reads all waiting and running work of the shards, in pages. */
export async function loadWork(client: Queryable, shards: readonly number[]): Promise<StoredWork> {
  const ready = await readPages<LiveTaskRow>(client, READY_PAGE, shards);
  const leases = await readPages<LeaseRow>(client, LEASE_PAGE, shards);
  const { rows } = await client.query<{ blocked: string; now: Date }>(
    `SELECT coalesce(sum(blocked), 0) AS blocked, now() AS now
       FROM jobs WHERE shard = ANY($1::smallint[]) AND ended_at IS NULL`,
    [shards],
  );
  return {
    ready: ready.map(toLiveTask),
    leases: leases.map(toLease),
    blocked: Number(rows[0]?.blocked ?? 0),
    nowMs: rows[0]?.now.getTime() ?? 0,
  };
}

async function readPages<R extends { readonly task_id: string }>(
  client: Queryable,
  text: string,
  shards: readonly number[],
): Promise<R[]> {
  const all: R[] = [];
  let after = FIRST_UUID;
  for (;;) {
    const { rows } = await client.query<R>(text, [shards, after, PAGE_ROWS]);
    all.push(...rows);
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
