/** Day partitions of what is kept by age: the event history, and the chunks of tasks. */
import { type Pool, type Queryable, sqlStateOf } from "@nexus/postgres";

const DAY_MS = 86_400_000;
/** Waiting for the lock would hold up every writer behind it, so a step gives up and the next one tries again. */
const LOCK_TIMEOUT_MS = 500;
/** Key of the advisory lock that whoever makes or drops partitions takes: "NXTE". */
const KEEPER_LOCK = 0x4e585445;
const PARTITION_NAME = /^(?:job_events|task_chunks)_(\d{4})(\d{2})(\d{2})$/;

/** A table that has a partition a day. */
export type DailyTable = "job_events" | "task_chunks";

/** Which days of which table are kept. */
export interface PartitionPolicy {
  readonly table: DailyTable;
  readonly daysAhead: number;
  readonly retentionMs: number;
}

/** What is to be done. */
interface Plan {
  readonly create: readonly Date[];
  readonly drop: readonly string[];
}

/** Names the partition of a day. */
export function partitionName(table: DailyTable, day: Date): string {
  return `${table}_${day.toISOString().slice(0, 10).replaceAll("-", "")}`;
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
  policy: PartitionPolicy,
): Plan {
  const today = Math.floor(nowMs / DAY_MS) * DAY_MS;
  const known = new Set(existing);
  const create: Date[] = [];
  for (let offset = 0; offset <= policy.daysAhead; offset += 1) {
    const day = new Date(today + offset * DAY_MS);
    if (!known.has(partitionName(policy.table, day))) create.push(day);
  }
  const drop = existing.filter((name) => {
    const day = partitionDay(name);
    // A day may go when its last moment is beyond the retention.
    return day !== undefined && day.getTime() + DAY_MS <= nowMs - policy.retentionMs;
  });
  return { create, drop };
}

/** Makes coming days and drops old ones. Replicas that start together wait for each other; the later ones find nothing to do.
 *
 * Errors: conflict/LOCK_NOT_AVAILABLE when readers hold the table. */
export async function keepPartitions(pool: Pool, policy: PartitionPolicy): Promise<void> {
  if (isKept(await lookUp(pool, policy))) return;
  const client = await pool.connect();
  let clean = false;
  try {
    // Two that make the same table fail each other, IF NOT EXISTS or not.
    await client.query("SELECT pg_advisory_lock($1)", [KEEPER_LOCK]);
    await client.query(`SET lock_timeout = ${LOCK_TIMEOUT_MS}`);
    const plan = await lookUp(client, policy);
    for (const day of plan.create) await createPartition(client, policy.table, day);
    for (const name of plan.drop) await client.query(`DROP TABLE IF EXISTS ${name}`);
    await client.query("RESET lock_timeout");
    await client.query("SELECT pg_advisory_unlock($1)", [KEEPER_LOCK]);
    clean = true;
  } finally {
    // Closing the connection frees the lock as well.
    client.release(!clean);
  }
}

async function lookUp(client: Queryable, policy: PartitionPolicy): Promise<Plan> {
  const { rows } = await client.query<{ name: string; now: Date }>(
    `SELECT c.relname AS name, now() AS now
       FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
      WHERE i.inhparent = $1::regclass`,
    [policy.table],
  );
  const nowMs = rows[0]?.now.getTime() ?? Date.now();
  return planPartitions(
    rows.map((row) => row.name),
    nowMs,
    policy,
  );
}

function isKept({ create, drop }: Plan): boolean {
  return create.length === 0 && drop.length === 0;
}

/** A row of the day lies in the default partition. */
const ROWS_IN_DEFAULT = "23514";

/** Makes one day. When a late keeper has let rows of that day fall into the default partition, they move with it. */
async function createPartition(client: Queryable, table: DailyTable, day: Date): Promise<void> {
  const name = partitionName(table, day);
  const from = day.toISOString();
  const to = new Date(day.getTime() + DAY_MS).toISOString();
  // Names and bounds are made from dates here, never from input.
  const bounds = `FOR VALUES FROM ('${from}') TO ('${to}')`;
  try {
    await client.query(`CREATE TABLE IF NOT EXISTS ${name} PARTITION OF ${table} ${bounds}`);
  } catch (error) {
    if (sqlStateOf(error) !== ROWS_IN_DEFAULT) throw error;
    await client.query(
      `BEGIN;
       LOCK TABLE ${table} IN ACCESS EXCLUSIVE MODE;
       CREATE TABLE ${name} (LIKE ${table} INCLUDING DEFAULTS INCLUDING CONSTRAINTS);
       WITH late AS (
         DELETE FROM ${table}_default WHERE created_at >= '${from}' AND created_at < '${to}' RETURNING *
       )
       INSERT INTO ${name} SELECT * FROM late;
       ALTER TABLE ${table} ATTACH PARTITION ${name} ${bounds};
       COMMIT`,
    );
  }
}
