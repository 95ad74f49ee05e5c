/** The statements that commit writes of state. Each takes a whole batch; time is the database's. */

import { BUCKET_COLUMNS } from "./state-bucket-row.ts";

/** What holds for one transaction: the plans of PLAN_BY_KEY, and that calls of a bucket wait so long for whoever holds it. */
export const BEGIN_WRITES = {
  name: "state-begin-writes",
  text: `
SELECT set_config(t.setting, t.value, true) FROM (VALUES ('lock_timeout', '2000'), ('enable_seqscan', 'off'),
  ('enable_hashjoin', 'off'), ('enable_mergejoin', 'off'), ('plan_cache_mode', 'force_generic_plan')) t(setting, value)`,
};

const LOCK = (how: string): string => `
SELECT l.*, (extract(epoch FROM clock_timestamp()) * 1000)::float8 AS now_ms FROM (
  SELECT ${BUCKET_COLUMNS} FROM state_buckets b
  WHERE (b.namespace, b.name) IN (SELECT * FROM unnest($1::text[], $2::text[]))
  ORDER BY b.bucket_id
  ${how}
) l`;

/** In the order of ids, so that replicas wait for each other and do not deadlock. The clock is read above the lock, once it is had: a transaction
 * begins before, so its own time may be of before another's commit. */
export const LOCK_BUCKETS = { name: "state-lock-buckets", text: LOCK("FOR NO KEY UPDATE") };

/** The same of those that nobody else holds. */
export const LOCK_FREE_BUCKETS = {
  name: "state-lock-free-buckets",
  text: LOCK("FOR NO KEY UPDATE SKIP LOCKED"),
};

/** Behind LOCK_FREE_BUCKETS: what is there and was not locked is held. */
export const BUCKETS_THERE = {
  name: "state-buckets-there",
  text: `
SELECT b.namespace || '/' || b.name AS name FROM state_buckets b
WHERE (b.namespace, b.name) IN (SELECT * FROM unnest($1::text[], $2::text[]))`,
};

/** A new bucket looks empty to the planner for a while, and any order of joins good; LIMIT makes it look keys up one by one.
 *
 * Values are read where the decision needs them: a VECTOR bucket keeps versions, and who is refused is shown what is stored. */
export const FIND_ENTRIES = {
  name: "state-find-entries",
  text: `
SELECT x.bucket_id, x.key, x.revision, x.meta,
  CASE WHEN x.wanted AND x.upto <= $6::bigint THEN x.content END AS content
FROM (
  SELECT b.bucket_id, k.key, e.revision, e.meta, e.content, w.wanted,
    sum(CASE WHEN w.wanted THEN e.size_bytes ELSE 0 END) OVER (ORDER BY k.position) AS upto
  FROM unnest($3::int[], $4::text[], $5::boolean[]) WITH ORDINALITY AS k(bucket_at, key, with_value, position)
  JOIN unnest($1::text[], $2::text[]) WITH ORDINALITY AS t(namespace, name, at) ON t.at = k.bucket_at
  JOIN state_buckets b ON b.namespace = t.namespace AND b.name = t.name
  CROSS JOIN LATERAL (
    SELECT e.revision, e.meta, e.content, e.size_bytes FROM state_entries e
    WHERE e.bucket_id = b.bucket_id AND e.key = k.key LIMIT 1
  ) e
  CROSS JOIN LATERAL (SELECT k.with_value OR b.policy = 'vector' AS wanted) w
) x`,
};

export const FIND_REQUESTS = {
  name: "state-find-requests",
  text: `
SELECT r.bucket_id, replace(r.key::text, '-', '') AS key, r.body_hash, r.results
FROM unnest($3::int[], $4::uuid[]) AS k(bucket_at, key)
JOIN unnest($1::text[], $2::text[]) WITH ORDINALITY AS t(namespace, name, at) ON t.at = k.bucket_at
JOIN state_buckets b ON b.namespace = t.namespace AND b.name = t.name
CROSS JOIN LATERAL (
  SELECT r.bucket_id, r.key, r.body_hash, r.results FROM state_requests r
  WHERE r.bucket_id = b.bucket_id AND r.key = k.key
    AND r.day >= (now() AT TIME ZONE 'utc')::date - 1 LIMIT 1
) r`,
};

export const PUT_ENTRIES = {
  name: "state-put-entries",
  text: `
INSERT INTO state_entries (bucket_id, key, revision, meta, content, size_bytes, siblings, deleted, due_at)
SELECT t.bucket_id, t.key, t.revision, t.meta, t.content, t.size_bytes, t.siblings, t.deleted,
  to_timestamp(t.due_ms / 1000.0)
FROM unnest($1::bigint[], $2::text[], $3::bigint[], $4::text[], $5::bytea[], $6::int[], $7::smallint[],
  $8::boolean[], $9::bigint[])
  AS t(bucket_id, key, revision, meta, content, size_bytes, siblings, deleted, due_ms)
ON CONFLICT (bucket_id, key) DO UPDATE SET revision = excluded.revision, meta = excluded.meta,
  content = excluded.content, size_bytes = excluded.size_bytes, siblings = excluded.siblings,
  deleted = excluded.deleted, due_at = excluded.due_at`,
};

/** Of keys that have a row, which nobody else changes while the bucket is locked. An insert that meets a row locks it first, and writes that
 * into the log of the database as well. Divides by zero, and so fails, when one of them is not there: COMMIT is sent behind it. */
export const CHANGE_ENTRIES = {
  name: "state-change-entries",
  text: `
WITH changed AS (UPDATE state_entries e SET revision = t.revision, meta = t.meta, content = t.content, size_bytes = t.size_bytes,
  siblings = t.siblings, deleted = t.deleted, due_at = to_timestamp(t.due_ms / 1000.0)
FROM unnest($1::bigint[], $2::text[], $3::bigint[], $4::text[], $5::bytea[], $6::int[], $7::smallint[],
  $8::boolean[], $9::bigint[])
  AS t(bucket_id, key, revision, meta, content, size_bytes, siblings, deleted, due_ms)
WHERE e.bucket_id = t.bucket_id AND e.key = t.key
RETURNING 1)
SELECT 1 / (count(*) = cardinality($1::bigint[]))::int FROM changed`,
};

export const FORGET_ENTRIES = {
  name: "state-forget-entries",
  text: `
DELETE FROM state_entries e USING unnest($1::bigint[], $2::text[]) AS t(bucket_id, key)
WHERE e.bucket_id = t.bucket_id AND e.key = t.key`,
};

export const LOG_CHANGES = {
  name: "state-log-changes",
  text: `
INSERT INTO state_changes (bucket_id, first_revision, last_revision, changes, log_bytes, committed_at)
SELECT t.bucket_id, t.first_revision, t.last_revision, t.changes, b.log_bytes + length(t.changes), clock_timestamp()
FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bytea[])
  AS t(bucket_id, first_revision, last_revision, changes)
JOIN state_buckets b ON b.bucket_id = t.bucket_id`,
};

/** After LOG_CHANGES, which reads what is counted here. */
export const COUNT_BUCKETS = {
  name: "state-count-buckets",
  text: `
UPDATE state_buckets b
SET revision = t.revision, keys = t.keys, tombstones = t.tombstones, bytes = t.bytes,
  log_bytes = b.log_bytes + t.logged
FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[])
  AS t(bucket_id, revision, keys, tombstones, bytes, logged)
WHERE b.bucket_id = t.bucket_id`,
};

export const NOTE_REQUESTS = {
  name: "state-note-requests",
  text: `
INSERT INTO state_requests (bucket_id, key, body_hash, results)
SELECT t.bucket_id, t.key, t.body_hash, t.results
FROM unnest($1::bigint[], $2::uuid[], $3::bigint[], $4::text[]) AS t(bucket_id, key, body_hash, results)`,
};

/** Tells other replicas which buckets changed. */
export const NOTIFY_CHANGES = { name: "state-notify", text: "SELECT pg_notify($1, $2)" };
