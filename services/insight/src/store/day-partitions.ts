/** Tables partitioned by day (UTC): room for the days to come, and days that are over dropped whole. */
import { type Pool, withTransaction } from "@nexus/postgres";

/** Days of room ahead: a keeper that fails has this long to be noticed. */
const DAYS_AHEAD = 2;

/** Creating and dropping wait for readers; they give up soon and are tried again, since everybody else would queue behind. */
const LOCK_TIMEOUT = "1s";

/** How a table is kept. */
export interface DayRetention {
  /** Days before today that there is room for. */
  readonly daysBack: number;
  /** A day is dropped when its last moment is longer ago than this. */
  readonly keptMs: number;
}

/** Makes room in a table for the days to come and drops those that are over. */
export async function keepDayPartitions(
  pool: Pool,
  table: string,
  { daysBack, keptMs }: DayRetention,
): Promise<void> {
  await withTransaction(pool, async (tx) => {
    await tx.query(`SET LOCAL lock_timeout = '${LOCK_TIMEOUT}'`);
    await tx.query("SELECT create_day_partitions($1, $2, $3)", [table, daysBack, DAYS_AHEAD]);
  });
  await withTransaction(pool, async (tx) => {
    await tx.query(`SET LOCAL lock_timeout = '${LOCK_TIMEOUT}'`);
    const drop = "SELECT drop_day_partitions($1, make_interval(secs => $2::float8 / 1000))";
    await tx.query(drop, [table, keptMs]);
  });
}
