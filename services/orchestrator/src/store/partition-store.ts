/** Day partitions of the event history. */
import type { Pool, Queryable } from "@nexus/postgres";

const DAY_MS = 86_400_000;
/** Waiting for the lock would hold up every writer behind it, so a step gives up and the next one tries again. */
const LOCK_TIMEOUT_MS = 500;
const PARTITION_NAME = /^task_events_(\d{4})(\d{2})(\d{2})$/;

/** Names the partition of a day. */
export function partitionName(day: Date): string {
  return `task_events_${day.toISOString().slice(0, 10).replaceAll("-", "")}`;
}

/** The day that a partition holds; undefined for another table. */
export function partitionDay(name: string): Date | undefined {
  const match = PARTITION_NAME.exec(name);
  if (match === null) return undefined;
  const [, year, month, day] = match;
  return new Date(`${year}-${month}-${day}T00:00:00Z`);
}

/** Says which partitions to make and which to drop, by the database's day. */
export function planPartitions(
  existing: readonly string[],
  nowMs: number,
  options: { readonly daysAhead: number; readonly retentionMs: number },
): { readonly create: readonly Date[]; readonly drop: readonly string[] } {
  const today = Math.floor(nowMs / DAY_MS) * DAY_MS;
  const known = new Set(existing);
  const create: Date[] = [];
  for (let offset = 0; offset <= options.daysAhead; offset += 1) {
    const day = new Date(today + offset * DAY_MS);
    if (!known.has(partitionName(day))) create.push(day);
  }
  const drop = existing.filter((name) => {
    const day = partitionDay(name);
    // A day may go when its last moment is beyond the retention.
    return day !== undefined && day.getTime() + DAY_MS <= nowMs - options.retentionMs;
  });
  return { create, drop };
}

/** Makes coming days and drops old ones. Errors: conflict/LOCK_NOT_AVAILABLE when readers hold the table. */
export async function keepPartitions(
  pool: Pool,
  options: { readonly daysAhead: number; readonly retentionMs: number },
): Promise<void> {
  const { rows } = await pool.query<{ name: string; now: Date }>(
    `SELECT c.relname AS name, now() AS now
       FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
      WHERE i.inhparent = 'task_events'::regclass`,
  );
  const nowMs = rows[0]?.now.getTime() ?? Date.now();
  const plan = planPartitions(
    rows.map((row) => row.name),
    nowMs,
    options,
  );
  if (plan.create.length === 0 && plan.drop.length === 0) return;
  const client = await pool.connect();
  let clean = false;
  try {
    await client.query(`SET lock_timeout = ${LOCK_TIMEOUT_MS}`);
    for (const day of plan.create) await createPartition(client, day);
    for (const name of plan.drop) await client.query(`DROP TABLE IF EXISTS ${name}`);
    await client.query("RESET lock_timeout");
    clean = true;
  } finally {
    client.release(!clean);
  }
}

/** Names are made from dates here, never from input. */
async function createPartition(client: Queryable, day: Date): Promise<void> {
  const from = day.toISOString();
  const to = new Date(day.getTime() + DAY_MS).toISOString();
  await client.query(
    `CREATE TABLE IF NOT EXISTS ${partitionName(day)} PARTITION OF task_events
       FOR VALUES FROM ('${from}') TO ('${to}')`,
  );
}
