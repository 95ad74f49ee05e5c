/** Tables partitioned by day (UTC): room for the days to come, and days that are over dropped whole. */
import type { Pool } from "@nexus/postgres";
import { withTransaction } from "@nexus/postgres";

/** Days of room ahead: a keeper that fails has this long to be noticed. */
const DAYS_AHEAD = 2;

/** Dropping waits for readers of the table; it gives up soon and is tried again, since everybody else would queue behind it. */
const LOCK_TIMEOUT = "1s";

/** Creates the partitions of yesterday, today and the next days; returns how many were missing. */
export async function createDayPartitions(pool: Pool, table: string): Promise<number> {
  return callUnderLockTimeout(pool, "SELECT create_day_partitions($1, $2) AS count", [
    table,
    DAYS_AHEAD,
  ]);
}

/** Drops the partitions whose last moment is longer ago than this; returns how many. */
export async function dropDayPartitions(
  pool: Pool,
  table: string,
  keptMs: number,
): Promise<number> {
  const call = "SELECT drop_day_partitions($1, make_interval(secs => $2::float8 / 1000)) AS count";
  return callUnderLockTimeout(pool, call, [table, keptMs]);
}

async function callUnderLockTimeout(
  pool: Pool,
  call: string,
  values: readonly unknown[],
): Promise<number> {
  return withTransaction(pool, async (tx) => {
    await tx.query(`SET LOCAL lock_timeout = '${LOCK_TIMEOUT}'`);
    const { rows } = await tx.query<{ count: number }>(call, values);
    return rows[0]?.count ?? 0;
  });
}
