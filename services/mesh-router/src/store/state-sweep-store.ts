/** What the sweep of state reads and removes. Several replicas may sweep at once: they do the same, or wait for each other. */
import { int8Array, type Pool, withTransaction } from "@nexus/postgres";
import { LOG_BYTES_MAX, LOG_TRIM_ROWS } from "../domain/state/state-limits.ts";
import type { DueKey, DuePlace, SweepStore } from "../domain/state/sweep.ts";

/** How much of the log is kept. */
export interface LogLimits {
  readonly keptMs: number;
  readonly changesMax: number;
}

const DUE = `
SELECT b.namespace, b.name AS bucket, e.key, e.deleted, e.due_at::text AS "dueAt", e.bucket_id AS "bucketId"
FROM state_entries e JOIN state_buckets b USING (bucket_id)
WHERE e.due_at <= clock_timestamp() AND (e.due_at, e.bucket_id, e.key) > ($1::timestamptz, $2::bigint, $3::text)
ORDER BY e.due_at, e.bucket_id, e.key LIMIT $4`;
const FIRST: DuePlace = { dueAt: "-infinity", bucketId: "0", key: "" };

const BUCKETS = `
SELECT b.bucket_id FROM state_buckets b
WHERE b.bucket_id > $1 AND b.revision > b.trimmed_revision
ORDER BY b.bucket_id LIMIT $2`;

/** Old rows are at the front, so only the first ones of each bucket are looked at. */
const OVERDUE = `
SELECT b.bucket_id, max(c.last_revision) AS upto
FROM unnest($1::bigint[]) AS t(bucket_id)
JOIN state_buckets b ON b.bucket_id = t.bucket_id
CROSS JOIN LATERAL (
  SELECT c.last_revision, c.log_bytes, c.committed_at FROM state_changes c
  WHERE c.bucket_id = b.bucket_id ORDER BY c.last_revision LIMIT $2
) c
WHERE c.committed_at < now() - $3 * interval '1 millisecond'
   OR c.last_revision <= b.revision - $4::bigint
   OR c.log_bytes <= b.log_bytes - $5::bigint
GROUP BY b.bucket_id`;

/** In one transaction with the rows, so that whoever finds them gone finds that said. */
const CUT = `
WITH cut AS (
  UPDATE state_buckets b SET trimmed_revision = t.upto
  FROM (SELECT * FROM unnest($1::bigint[], $2::bigint[]) AS u(bucket_id, upto) ORDER BY u.bucket_id) t
  WHERE b.bucket_id = t.bucket_id AND b.trimmed_revision < t.upto
  RETURNING b.bucket_id, b.trimmed_revision
)
DELETE FROM state_changes c USING cut
WHERE c.bucket_id = cut.bucket_id AND c.last_revision <= cut.trimmed_revision`;

const LOCK = `
SELECT bucket_id FROM state_buckets WHERE bucket_id = ANY ($1::bigint[]) ORDER BY bucket_id
FOR NO KEY UPDATE`;

const DROP_ROWS = (table: string, key: string): string => `
DELETE FROM ${table} x USING (
  SELECT r.bucket_id, r.${key} FROM state_drops d JOIN ${table} r USING (bucket_id) LIMIT $1
) t
WHERE x.bucket_id = t.bucket_id AND x.${key} = t.${key}`;
const DROP_ENTRIES = DROP_ROWS("state_entries", "key");
const DROP_CHANGES = DROP_ROWS("state_changes", "last_revision");

/** Requests go with their day. */
const DROPPED = `
DELETE FROM state_drops d
WHERE NOT EXISTS (SELECT FROM state_entries e WHERE e.bucket_id = d.bucket_id)
  AND NOT EXISTS (SELECT FROM state_changes c WHERE c.bucket_id = d.bucket_id)`;

/** Creates the store. */
export function createSweepStore(pool: Pool, limits: LogLimits): SweepStore {
  return {
    due: async (after, limit) => {
      const { dueAt, bucketId, key } = after ?? FIRST;
      return (await pool.query<DueKey>(DUE, [dueAt, bucketId, key, limit])).rows;
    },
    trim: (after, buckets) => trim(pool, limits, after, buckets),
    drop: async (limit) => {
      const entries = await pool.query(DROP_ENTRIES, [limit]);
      const changes = await pool.query(DROP_CHANGES, [limit]);
      if (entries.rowCount + changes.rowCount === 0) await pool.query(DROPPED);
      return entries.rowCount + changes.rowCount;
    },
  };
}

async function trim(
  pool: Pool,
  { keptMs, changesMax }: LogLimits,
  after: bigint,
  buckets: number,
): Promise<{ rows: number; last: bigint | undefined }> {
  const { rows } = await pool.query<{ bucket_id: string }>(BUCKETS, [after, buckets]);
  const ids = rows.map(({ bucket_id }) => BigInt(bucket_id));
  const values = [int8Array(ids), LOG_TRIM_ROWS, keptMs, changesMax, LOG_BYTES_MAX];
  const overdue = await pool.query<{ bucket_id: string; upto: string }>(OVERDUE, values);
  const cut = overdue.rows.map((row) => [BigInt(row.bucket_id), BigInt(row.upto)] as const);
  const last = rows.length < buckets ? undefined : ids.at(-1);
  if (cut.length === 0) return { rows: 0, last };
  const removed = await withTransaction(pool, async (client) => {
    await client.query(LOCK, [int8Array(cut.map(([id]) => id))]);
    const { rowCount } = await client.query(CUT, [
      int8Array(cut.map(([id]) => id)),
      int8Array(cut.map(([, upto]) => upto)),
    ]);
    return rowCount;
  });
  return { rows: removed, last };
}
