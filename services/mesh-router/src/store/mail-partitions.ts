/** Day partitions of what dies by age: ids of messages, dead messages, and calls that changed state. */
import type { Pool, Queryable } from "@nexus/postgres";

const DAY_MS = 86_400_000;
/** Waiting for the lock would hold up every writer behind it, so a step gives up and the next one tries again. */
const LOCK_TIMEOUT_MS = 500;
/** Key of the advisory lock that whoever makes or drops partitions takes: "NXTM". */
const KEEPER_LOCK = 0x4e58544d;
const NAME = /^(message_ids|dead_messages|state_requests)_(\d{4})(\d{2})(\d{2})$/;
/** Days made ahead: one more than a day's outage of every replica needs. */
const DAYS_AHEAD = 2;
/** Ids of messages and of calls are looked up as far back as yesterday. */
const IDS_KEPT_MS = DAY_MS;

/** A table that has a partition a day. */
export interface DailyTable {
  readonly table: "message_ids" | "dead_messages" | "state_requests";
  /** How long a day is kept after its end. */
  readonly keptMs: number;
  /** Days before today that are written to. */
  readonly daysBack?: number;
}

/** The tables that have days. */
export function dailyTables(deadMessagesKeptMs: number): readonly DailyTable[] {
  return [
    { table: "message_ids", keptMs: IDS_KEPT_MS, daysBack: 1 },
    { table: "state_requests", keptMs: IDS_KEPT_MS },
    { table: "dead_messages", keptMs: deadMessagesKeptMs },
  ];
}

/** Says which days of a table to make and which partitions to drop, by the database's day. */
export function planDays(
  existing: readonly string[],
  nowMs: number,
  { table, keptMs, daysBack = 0 }: DailyTable,
): { readonly create: readonly Date[]; readonly drop: readonly string[] } {
  const today = Math.floor(nowMs / DAY_MS) * DAY_MS;
  const create: Date[] = [];
  for (let ahead = -daysBack; ahead <= DAYS_AHEAD; ahead += 1) {
    const day = new Date(today + ahead * DAY_MS);
    if (!existing.includes(partitionName(table, day))) create.push(day);
  }
  const drop = existing.filter((name) => {
    const match = NAME.exec(name);
    if (match === null) return false;
    const [, , year, month, day] = match;
    return Date.parse(`${year}-${month}-${day}T00:00:00Z`) + DAY_MS <= nowMs - keptMs;
  });
  return { create, drop };
}

/** Makes coming days and drops old ones. Replicas that start together wait for each other; the later ones find nothing to do.
 *
 * Errors: conflict/LOCK_NOT_AVAILABLE when the table is in use for too long. */
export async function keepDays(pool: Pool, tables: readonly DailyTable[]): Promise<void> {
  const client = await pool.connect();
  let clean = false;
  try {
    await client.query("SELECT pg_advisory_lock($1)", [KEEPER_LOCK]);
    await client.query(`SET lock_timeout = ${LOCK_TIMEOUT_MS}`);
    for (const daily of tables) await keep(client, daily);
    await client.query("RESET lock_timeout");
    await client.query("SELECT pg_advisory_unlock($1)", [KEEPER_LOCK]);
    clean = true;
  } finally {
    // Closing the connection frees the lock as well.
    client.release(!clean);
  }
}

async function keep(client: Queryable, daily: DailyTable): Promise<void> {
  const { table } = daily;
  const { rows } = await client.query<{ name: string; now: Date }>(
    `SELECT c.relname AS name, now() AS now
       FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
      WHERE i.inhparent = $1::regclass`,
    [table],
  );
  const nowMs = rows[0]?.now.getTime() ?? Date.now();
  const names = rows.map(({ name }) => name);
  const { create, drop } = planDays(names, nowMs, daily);
  for (const day of create) await makeDay(client, table, day);
  for (const name of drop) await client.query(`DROP TABLE IF EXISTS ${name}`);
}

/** Names and bounds are made from dates here, never from input. Rows that fell into the default partition since, because every
 * replica was away for days, stand in the way of their day and move into it. */
async function makeDay(client: Queryable, table: DailyTable["table"], day: Date): Promise<void> {
  const name = partitionName(table, day);
  const from = day.toISOString().slice(0, 10);
  const to = new Date(day.getTime() + DAY_MS).toISOString().slice(0, 10);
  const [column, zone] = table === "dead_messages" ? ["died_at", " 00:00:00+00"] : ["day", ""];
  const bounds = [`'${from}${zone}'`, `'${to}${zone}'`] as const;
  await client.query(
    `BEGIN;
     CREATE TABLE ${name} (LIKE ${table} INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING STORAGE);
     WITH late AS (
       DELETE FROM ${table}_default WHERE ${column} >= ${bounds[0]} AND ${column} < ${bounds[1]} RETURNING *
     )
     INSERT INTO ${name} SELECT * FROM late;
     ALTER TABLE ${table} ATTACH PARTITION ${name} FOR VALUES FROM (${bounds[0]}) TO (${bounds[1]});
     COMMIT`,
  );
}

function partitionName(table: DailyTable["table"], day: Date): string {
  return `${table}_${day.toISOString().slice(0, 10).replaceAll("-", "")}`;
}
