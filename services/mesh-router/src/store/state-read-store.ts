/** Reads of state: always of what is committed now, so that whoever was answered finds its write, whichever replica it asks. */
import {
  boolArray,
  decodePageToken,
  encodePageToken,
  int8Array,
  type Pool,
  textArray,
} from "@nexus/postgres";
import type { Entry } from "../domain/state/entry.ts";
import { unpackChanges, unpackEntry } from "../domain/state/entry-codec.ts";
import { ANSWER_BYTES_MAX } from "../domain/state/state-limits.ts";
import type {
  FoundKey,
  KeyName,
  KeyPage,
  KeyQuery,
  LogPage,
  ReadStore,
} from "../domain/state/state-ports.ts";
import type { Policy } from "../domain/state/write.ts";

const PAGE_KIND = "state-entries";
/** Follows every character that a key may have. */
const AFTER_ALL_KEYS = "~";
/** Rows of the log that one statement looks at. */
const LOG_ROWS_MAX = 512;

/** A key has a value unless it was deleted or its time is over, noticed or not. */
const SHOWN = "(NOT e.deleted AND (e.due_at IS NULL OR e.due_at > clock_timestamp()))";

const READ = {
  name: "state-read",
  text: `
SELECT b.bucket_id, b.policy, e.revision, e.meta, e.content
FROM unnest($1::text[], $2::text[], $3::text[], $4::boolean[]) WITH ORDINALITY
  AS k(namespace, bucket, key, include_deleted, position)
LEFT JOIN state_buckets b ON b.namespace = k.namespace AND b.name = k.bucket
LEFT JOIN LATERAL (
  SELECT e.revision, e.meta, e.content FROM state_entries e
  WHERE e.bucket_id = b.bucket_id AND e.key = k.key AND (${SHOWN} OR (k.include_deleted AND e.deleted))
  LIMIT 1
) e ON true
ORDER BY k.position`,
};

/** The values of the first rows that fit; of the others only the key. */
const READ_MANY = `
WITH found AS (
  SELECT e.key, sum(e.size_bytes) OVER (ORDER BY e.key) - e.size_bytes AS before
  FROM state_entries e
  WHERE e.bucket_id = $1 AND e.key = ANY ($2::text[]) AND (${SHOWN} OR ($3::boolean AND e.deleted))
)
SELECT f.key, e.revision, e.meta, e.content
FROM found f
LEFT JOIN state_entries e ON f.before < $4::bigint AND e.bucket_id = $1 AND e.key = f.key
ORDER BY f.key`;

const PAGE = `
WITH page AS (
  SELECT e.key, e.size_bytes FROM state_entries e
  WHERE e.bucket_id = $1 AND e.key > $2 AND e.key >= $3 AND e.key < $4
    AND (NOT $5::boolean OR e.siblings > 1) AND (${SHOWN} OR ($6::boolean AND e.deleted))
  ORDER BY e.key LIMIT $7
), sized AS (
  SELECT key, sum(size_bytes) OVER (ORDER BY key) - size_bytes AS before FROM page
)
SELECT s.key, e.revision, e.meta, e.content, (SELECT count(*)::int FROM page) AS found
FROM sized s JOIN state_entries e ON e.bucket_id = $1 AND e.key = s.key
WHERE s.before < $8::bigint
ORDER BY s.key`;

/** One statement, so that the log and what was cut off it are of one moment. */
const LOG = {
  name: "state-log",
  text: `
WITH rows AS (
  SELECT c.last_revision, length(c.changes) AS bytes FROM state_changes c
  WHERE c.bucket_id = $1 AND c.last_revision > $2
  ORDER BY c.last_revision LIMIT $3
), sized AS (
  SELECT last_revision, sum(bytes) OVER (ORDER BY last_revision) - bytes AS before FROM rows
)
SELECT b.revision, b.trimmed_revision, c.changes
FROM state_buckets b
LEFT JOIN sized s ON s.before < $4::bigint
LEFT JOIN state_changes c ON c.bucket_id = b.bucket_id AND c.last_revision = s.last_revision
WHERE b.bucket_id = $1
ORDER BY c.last_revision`,
};

const MOVED = {
  name: "state-moved",
  text: `
SELECT t.bucket_id, b.bucket_id IS NULL AS gone
FROM unnest($1::bigint[], $2::bigint[]) AS t(bucket_id, revision)
LEFT JOIN state_buckets b ON b.bucket_id = t.bucket_id
WHERE b.bucket_id IS NULL OR b.revision > t.revision`,
};

interface EntryRow {
  readonly key: string;
  readonly revision: string;
  readonly meta: string;
  readonly content: Buffer;
}

/** Creates the store. */
export function createReadStore(pool: Pool): ReadStore {
  return {
    read: (names) => read(pool, names),
    readMany: async ({ bucketId, keys, includeDeleted }) => {
      const values = [bucketId, textArray(keys), includeDeleted, ANSWER_BYTES_MAX];
      const { rows } = await pool.query<EntryRow | Unread>(READ_MANY, values);
      return {
        entries: rows.filter(isRead).map(toEntry),
        unreadKeys: rows.filter((row) => !isRead(row)).map(({ key }) => key),
      };
    },
    page: (query) => page(pool, query),
    list: async ({ pageToken, ...query }) => {
      const { bucketId, prefix, onlyConflicts, includeDeleted } = query;
      const kind = JSON.stringify([
        PAGE_KIND,
        `${bucketId}`,
        prefix,
        onlyConflicts,
        includeDeleted,
      ]);
      const [after = ""] = decodePageToken(kind, pageToken) ?? [];
      const { entries, lastKey } = await page(pool, { ...query, afterKey: String(after) });
      return {
        entries,
        nextPageToken: lastKey === undefined ? "" : encodePageToken(kind, [lastKey]),
      };
    },
    log: (bucketId, after) => log(pool, bucketId, after),
    moved: async (positions) => {
      const ids = int8Array([...positions.keys()]);
      const values = [ids, int8Array([...positions.values()])];
      const { rows } = await pool.query<{ bucket_id: string; gone: boolean }>(MOVED, values);
      const idsOf = (gone: boolean): bigint[] =>
        rows.filter((row) => row.gone === gone).map((row) => BigInt(row.bucket_id));
      return { moved: idsOf(false), gone: idsOf(true) };
    },
  };
}

interface Unread {
  readonly key: string;
  readonly revision: null;
}

function isRead(row: EntryRow | Unread): row is EntryRow {
  return row.revision !== null;
}

function toEntry({ key, revision, meta, content }: EntryRow): Entry {
  return unpackEntry(key, BigInt(revision), meta, content);
}

async function read(pool: Pool, names: readonly KeyName[]): Promise<FoundKey[]> {
  const { rows } = await pool.query<{
    bucket_id: string | null;
    policy: Policy;
    revision: string | null;
    meta: string;
    content: Buffer;
  }>(READ, [
    textArray(names.map(({ namespace }) => namespace)),
    textArray(names.map(({ bucket }) => bucket)),
    textArray(names.map(({ key }) => key)),
    boolArray(names.map(({ includeDeleted }) => includeDeleted)),
  ]);
  return rows.map(({ bucket_id, policy, revision, meta, content }, at) => ({
    rules: bucket_id === null ? undefined : { bucketId: BigInt(bucket_id), policy },
    entry:
      revision === null
        ? undefined
        : unpackEntry((names[at] as KeyName).key, BigInt(revision), meta, content),
  }));
}

async function page(pool: Pool, query: KeyQuery): Promise<KeyPage> {
  const { bucketId, prefix, afterKey, onlyConflicts, includeDeleted, limit } = query;
  const { rows } = await pool.query<EntryRow & { found: number }>(PAGE, [
    bucketId,
    afterKey,
    prefix,
    prefix + AFTER_ALL_KEYS,
    onlyConflicts,
    includeDeleted,
    limit + 1,
    ANSWER_BYTES_MAX,
  ]);
  const entries = rows.slice(0, limit).map(toEntry);
  // One row more than was asked for, or one that found no room, says that there are more.
  const more = entries.length < (rows[0]?.found ?? 0);
  return { entries, lastKey: more ? entries.at(-1)?.key : undefined };
}

async function log(pool: Pool, bucketId: bigint, after: bigint): Promise<LogPage> {
  const values = [bucketId, after, LOG_ROWS_MAX, ANSWER_BYTES_MAX];
  const { rows } = await pool.query<{
    revision: string;
    trimmed_revision: string;
    changes: Buffer | null;
  }>(LOG, values);
  const [first] = rows;
  if (first === undefined) return { bucket: undefined, groups: [] };
  return {
    bucket: {
      revision: BigInt(first.revision),
      trimmedRevision: BigInt(first.trimmed_revision),
    },
    groups: rows
      .map(({ changes }) => changes)
      .filter((changes) => changes !== null)
      .map((changes) => ({ bucketId, changes: unpackChanges(changes) })),
  };
}
