/** Bodies that are stored apart: their parts, who refers to them, and when they go. */
import { randomUUID } from "node:crypto";
import {
  byteaArray,
  int8Array,
  type Pool,
  type Queryable,
  textArray,
  uuidArray,
  withTransaction,
} from "@nexus/postgres";
import { NexusError } from "@nexus/shared";
import { PAYLOAD_PART_BYTES, PAYLOAD_QUOTA_BYTES_MIN } from "../domain/limits.ts";
import {
  type PayloadReference,
  type PayloadStore,
  type PayloadUpload,
  type PayloadUse,
  payloadNotFound,
} from "../domain/stored-payload.ts";
import { isRefused, REFUSALS } from "./refusals.ts";
import { jobUuid } from "./row-ids.ts";

/** A body that is looked for or referred to is kept for the retention from then on; written once an hour, not once a use. */
const TOUCH = "SET touched_at = now() WHERE p.touched_at < now() - interval '1 hour'";
/** An upload takes no longer, or is taken for broken. */
const UPLOAD_AGE_MAX = "1 hour";

const FIND = {
  name: "payload-find",
  text: `
    WITH found AS (
      SELECT namespace, sha256, size_bytes FROM payloads WHERE namespace = $1 AND sha256 = $2 FOR KEY SHARE
    ), touched AS (
      UPDATE payloads p ${TOUCH} AND (p.namespace, p.sha256) IN (SELECT namespace, sha256 FROM found)
    )
    SELECT size_bytes FROM found`,
};

const READ_PART = {
  name: "payload-read-part",
  text: `
    SELECT p.size_bytes, part.data
      FROM payloads p LEFT JOIN payload_parts part ON part.upload_id = p.upload_id AND part.position = $3
     WHERE p.namespace = $1 AND p.sha256 = $2`,
};

/** Creates the store. */
export function createPayloadStore(pool: Pool): PayloadStore {
  return {
    find: async (namespace, sha256) => {
      const { rows } = await pool.query<{ size_bytes: string }>(FIND, [namespace, toBytea(sha256)]);
      return rows[0] === undefined ? undefined : { sha256, sizeBytes: Number(rows[0].size_bytes) };
    },
    usedBytes: async (namespace) => {
      const { rows } = await pool.query<{ used: string }>(
        "SELECT coalesce(sum(greatest(size_bytes, $2)), 0) AS used FROM payloads WHERE namespace = $1",
        [namespace, PAYLOAD_QUOTA_BYTES_MIN],
      );
      return Number(rows[0]?.used ?? 0);
    },
    beginUpload: async () => {
      const uploadId = randomUUID();
      await pool.query("INSERT INTO payload_uploads (upload_id) VALUES ($1)", [uploadId]);
      return uploadOf(pool, uploadId);
    },
    readPart: async (namespace, sha256, position) => {
      const values = [namespace, toBytea(sha256), position];
      const { rows } = await pool.query<{ size_bytes: string; data: Buffer | null }>(
        READ_PART,
        values,
      );
      const [row] = rows;
      if (row === undefined) throw payloadNotFound();
      if (row.data !== null) return row.data;
      if (position * PAYLOAD_PART_BYTES < Number(row.size_bytes)) {
        throw new Error(`part ${position} of a stored payload is missing`);
      }
      return undefined;
    },
  };
}

/** Only into an upload that is under way: what is appended to one that was removed nobody would find again. */
const APPEND_PART = {
  name: "payload-append-part",
  text: `
    INSERT INTO payload_parts (upload_id, position, data)
    SELECT u.upload_id, $2, $3 FROM payload_uploads u WHERE u.upload_id = $1 FOR KEY SHARE
    RETURNING position`,
};

/** Only of an upload that is under way: a commit whose answer was lost may have made a payload of it. */
const ABANDON = `
  WITH ended AS (DELETE FROM payload_uploads WHERE upload_id = $1 RETURNING upload_id)
  DELETE FROM payload_parts WHERE upload_id IN (SELECT upload_id FROM ended)`;

function uploadOf(pool: Pool, uploadId: string): PayloadUpload {
  let position = 0;
  return {
    append: async (part) => {
      const { rows } = await pool.query(APPEND_PART, [uploadId, position, part]);
      if (rows.length === 0) throw uploadExpired();
      position += 1;
    },
    commit: (namespace, reference) =>
      withTransaction(pool, (tx) => commitUpload(tx, uploadId, namespace, reference)),
    abandon: async () => {
      await pool.query(ABANDON, [uploadId]);
    },
  };
}

/** Where the same body was stored meanwhile, that one stays and these parts go. */
async function commitUpload(
  tx: Queryable,
  uploadId: string,
  namespace: string,
  { sha256, sizeBytes }: PayloadReference,
): Promise<void> {
  const ended = await tx.query(
    "DELETE FROM payload_uploads WHERE upload_id = $1 RETURNING upload_id",
    [uploadId],
  );
  if (ended.rows.length === 0) throw uploadExpired();
  const { rows } = await tx.query<{ upload_id: string }>(
    `INSERT INTO payloads (namespace, sha256, size_bytes, upload_id) VALUES ($1, $2, $3, $4)
     ON CONFLICT ON CONSTRAINT payloads_key DO UPDATE SET touched_at = now()
     RETURNING upload_id`,
    [namespace, toBytea(sha256), sizeBytes, uploadId],
  );
  if (rows[0]?.upload_id === uploadId) return;
  await tx.query("DELETE FROM payload_parts WHERE upload_id = $1", [uploadId]);
}

function uploadExpired(): NexusError {
  return new NexusError({
    kind: "conflict",
    reason: "UPLOAD_EXPIRED",
    message: `An upload ends within ${UPLOAD_AGE_MAX}; begin it anew.`,
  });
}

/** Holding the row keeps it from being removed before the commit; many may hold it at once. */
const USE = {
  name: "payload-use",
  text: `
    WITH wanted AS (
      SELECT * FROM unnest($1::text[], $2::bytea[], $3::bigint[], $4::uuid[]) AS w(namespace, sha256, size_bytes, job_id)
    ), held AS MATERIALIZED (
      SELECT p.namespace, p.sha256, w.job_id
        FROM wanted w JOIN payloads p USING (namespace, sha256, size_bytes)
       ORDER BY p.namespace, p.sha256
         FOR KEY SHARE OF p
    ), touched AS (
      UPDATE payloads p ${TOUCH} AND (p.namespace, p.sha256) IN (SELECT namespace, sha256 FROM held)
    ), used AS (
      INSERT INTO payload_refs (namespace, sha256, job_id) SELECT namespace, sha256, job_id FROM held
      ON CONFLICT ON CONSTRAINT payload_refs_key DO NOTHING
    )
    SELECT refuse_unless(count(*) = $5::int, '${REFUSALS.bodyMissing}') FROM held`,
};

/** Binds bodies to jobs that refer to them (each pair once): they stay for as long as the jobs are open.
 *
 * Cost: 1 statement, none when there are no uses. Errors: not_found/PAYLOAD_NOT_FOUND when one is not stored; in a transaction it is
 * the database that refuses to store anything then. */
export async function usePayloads(client: Queryable, uses: readonly PayloadUse[]): Promise<void> {
  if (uses.length === 0) return;
  const values = [
    textArray(uses.map(({ namespace }) => namespace)),
    byteaArray(uses.map(({ sha256 }) => sha256)),
    int8Array(uses.map(({ sizeBytes }) => sizeBytes)),
    uuidArray(uses.map(({ jobId }) => jobUuid(jobId))),
    uses.length,
  ];
  try {
    await client.query(USE, values);
  } catch (error) {
    throw isRefused(error, "bodyMissing") ? payloadNotFound() : error;
  }
}

/** Looks whether bodies are stored, before a transaction that others share relies on it. What goes meanwhile, usePayloads() finds.
 *
 * Cost: 1 statement, none when there are no uses. Errors: not_found/PAYLOAD_NOT_FOUND. */
export async function assertStored(client: Queryable, uses: readonly PayloadUse[]): Promise<void> {
  if (uses.length === 0) return;
  const { rows } = await client.query<{ stored: number }>(COUNT_STORED, [
    textArray(uses.map(({ namespace }) => namespace)),
    byteaArray(uses.map(({ sha256 }) => sha256)),
    int8Array(uses.map(({ sizeBytes }) => sizeBytes)),
  ]);
  if (rows[0]?.stored !== uses.length) throw payloadNotFound();
}

const COUNT_STORED = {
  name: "payload-count-stored",
  text: `
    SELECT count(*)::int AS stored
      FROM unnest($1::text[], $2::bytea[], $3::bigint[]) AS w(namespace, sha256, size_bytes)
      JOIN payloads p USING (namespace, sha256, size_bytes)`,
};

/** What jobs made of others refer to: inputs of its tasks, outputs that it keeps, and outputs of other jobs that its tasks receive. */
const INHERIT = {
  name: "payload-inherit",
  text: `
    WITH wanted AS (
      SELECT t.job_id, t.namespace, t.input AS sha256
        FROM tasks t WHERE t.job_id = ANY($1::uuid[]) AND t.input_stored_bytes IS NOT NULL
       UNION
      SELECT t.job_id, t.namespace, o.output
        FROM tasks t JOIN output_refs r USING (task_id) JOIN task_states o ON o.task_id = r.source_id
       WHERE t.job_id = ANY($1::uuid[]) AND o.output_stored_bytes IS NOT NULL
       UNION
      SELECT t.job_id, t.namespace, o.output
        FROM tasks t JOIN edges e ON e.child_id = t.task_id JOIN task_states o ON o.task_id = e.parent_id
       WHERE t.job_id = ANY($1::uuid[]) AND o.output_stored_bytes IS NOT NULL
    ), held AS MATERIALIZED (
      SELECT p.namespace, p.sha256, w.job_id FROM wanted w JOIN payloads p USING (namespace, sha256)
       ORDER BY p.namespace, p.sha256
         FOR KEY SHARE OF p
    ), touched AS (
      UPDATE payloads p ${TOUCH} AND (p.namespace, p.sha256) IN (SELECT namespace, sha256 FROM held)
    )
    INSERT INTO payload_refs (namespace, sha256, job_id) SELECT namespace, sha256, job_id FROM held
    ON CONFLICT ON CONSTRAINT payload_refs_key DO NOTHING`,
};

/** Binds to inserted jobs what they take over from earlier ones and is still stored; what is gone, their agents will miss. */
export async function inheritPayloads(client: Queryable, jobIds: readonly string[]): Promise<void> {
  await client.query(INHERIT, [uuidArray(jobIds.map(jobUuid))]);
}

const REMOVE_UNUSED = `
  WITH old AS (
    SELECT p.namespace, p.sha256 FROM payloads p
     WHERE p.touched_at < now() - $1 * interval '1 millisecond'
       AND NOT EXISTS (SELECT FROM payload_refs r JOIN jobs j USING (job_id)
                        WHERE r.namespace = p.namespace AND r.sha256 = p.sha256 AND j.ended_at IS NULL)
     ORDER BY p.touched_at LIMIT $2
       FOR UPDATE OF p SKIP LOCKED
  ), removed AS (
    DELETE FROM payloads p USING old WHERE p.namespace = old.namespace AND p.sha256 = old.sha256
    RETURNING p.upload_id
  ), parts AS (
    DELETE FROM payload_parts WHERE upload_id IN (SELECT upload_id FROM removed)
  ), refs AS (
    DELETE FROM payload_refs r USING old WHERE r.namespace = old.namespace AND r.sha256 = old.sha256
  )
  SELECT count(*)::int AS removed FROM removed`;

/** Removes bodies that nobody has touched for `retentionMs` and no open job refers to, at most `limit`; returns how many. */
export async function removeUnusedPayloads(
  pool: Queryable,
  retentionMs: number,
  limit: number,
): Promise<number> {
  const { rows } = await pool.query<{ removed: number }>(REMOVE_UNUSED, [retentionMs, limit]);
  return rows[0]?.removed ?? 0;
}

/** A body that every job uses would collect a row for each. */
const FORGET_USES = `
  WITH over AS (
    SELECT r.namespace, r.sha256, r.job_id FROM payload_refs r LEFT JOIN jobs j USING (job_id)
     WHERE j.job_id IS NULL OR j.ended_at IS NOT NULL LIMIT $1
  ), forgotten AS (
    DELETE FROM payload_refs r USING over o
     WHERE r.namespace = o.namespace AND r.sha256 = o.sha256 AND r.job_id = o.job_id
    RETURNING r.job_id
  )
  SELECT count(*)::int AS removed FROM forgotten`;

/** Forgets at most `limit` uses by jobs that have ended, or are gone; returns how many. */
export async function forgetUses(pool: Queryable, limit: number): Promise<number> {
  const { rows } = await pool.query<{ removed: number }>(FORGET_USES, [limit]);
  return rows[0]?.removed ?? 0;
}

const REMOVE_BROKEN = `
  WITH broken AS (
    DELETE FROM payload_uploads WHERE upload_id IN (
      SELECT upload_id FROM payload_uploads WHERE started_at < now() - interval '${UPLOAD_AGE_MAX}'
       ORDER BY started_at LIMIT $1 FOR UPDATE SKIP LOCKED)
    RETURNING upload_id
  ), parts AS (
    DELETE FROM payload_parts WHERE upload_id IN (SELECT upload_id FROM broken)
  )
  SELECT count(*)::int AS removed FROM broken`;

/** Removes what broken uploads left behind, of at most `limit`; returns of how many. */
export async function removeBrokenUploads(pool: Queryable, limit: number): Promise<number> {
  const { rows } = await pool.query<{ removed: number }>(REMOVE_BROKEN, [limit]);
  return rows[0]?.removed ?? 0;
}

function toBytea(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
