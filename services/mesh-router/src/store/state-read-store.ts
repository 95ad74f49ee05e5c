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
import type { BucketSight, KeyMemory } from "../domain/state/key-memory.ts";
import { ANSWER_BYTES_MAX } from "../domain/state/state-limits.ts";
import type {
  FoundKey,
  FoundKeys,
  KeyName,
  KeyPage,
  KeyQuery,
  KeysName,
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
SELECT b.bucket_id, b.policy, b.revision AS seen, e.revision, e.meta, e.content
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
const READ_MANY = {
  name: "state-read-many",
  text: `
WITH bucket AS (
  SELECT b.bucket_id, b.policy, b.revision FROM state_buckets b WHERE b.namespace = $1 AND b.name = $2
), found AS (
  SELECT e.key, sum(e.size_bytes) OVER (ORDER BY e.key) - e.size_bytes AS before
  FROM bucket b CROSS JOIN unnest($3::text[]) AS k(key)
  CROSS JOIN LATERAL (
    SELECT e.key, e.size_bytes FROM state_entries e
    WHERE e.bucket_id = b.bucket_id AND e.key = k.key AND (${SHOWN} OR ($4::boolean AND e.deleted)) LIMIT 1
  ) e
)
SELECT b.bucket_id, b.policy, b.revision AS seen, f.key, e.revision, e.meta, e.content
FROM bucket b
LEFT JOIN found f ON true
LEFT JOIN LATERAL (
  SELECT e.revision, e.meta, e.content FROM state_entries e
  WHERE f.before < $5::bigint AND e.bucket_id = b.bucket_id AND e.key = f.key LIMIT 1
) e ON true
ORDER BY f.key`,
};

const SIGHT = {
  name: "state-sight",
  text: `
SELECT b.bucket_id, b.policy, b.revision, (extract(epoch FROM clock_timestamp()) * 1000)::float8 AS now_ms
FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS t(namespace, name, position)
LEFT JOIN state_buckets b ON b.namespace = t.namespace AND b.name = t.name
ORDER BY t.position`,
};

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
export function createReadStore(pool: Pool, memory: KeyMemory): ReadStore {
  return {
    read: (names) => read({ pool, memory }, names),
    readMany: (name) => readMany({ pool, memory }, name),
    sight: (names) => sight(pool, names),
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
      const [after = ""] = decodePageToken(kind, pageToken, ["text"]) ?? [];
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

/** What reads are made from. */
interface Reading {
  readonly pool: Pool;
  /** Learns what was read. */
  readonly memory: KeyMemory;
}

/** A bucket, and when it was seen: null, when there is none. */
interface SeenRow {
  readonly bucket_id: string | null;
  readonly policy: Policy;
  readonly seen: string;
}

function toEntry({ key, revision, meta, content }: EntryRow): Entry {
  return unpackEntry(key, BigInt(revision), meta, content);
}

async function read({ pool, memory }: Reading, names: readonly KeyName[]): Promise<FoundKey[]> {
  const { rows } = await pool.query<
    SeenRow & { revision: string | null; meta: string; content: Buffer }
  >(READ, [
    textArray(names.map(({ namespace }) => namespace)),
    textArray(names.map(({ bucket }) => bucket)),
    textArray(names.map(({ key }) => key)),
    boolArray(names.map(({ includeDeleted }) => includeDeleted)),
  ]);
  return rows.map(({ bucket_id, policy, seen, revision, meta, content }, at) => {
    const name = names[at] as KeyName;
    if (bucket_id === null) return { rules: undefined, entry: undefined };
    const rules = { bucketId: BigInt(bucket_id), policy };
    const entry =
      revision === null ? undefined : toEntry({ key: name.key, revision, meta, content });
    const sight = { bucketId: rules.bucketId, revision: BigInt(seen) };
    memory.notice(`${name.namespace}/${name.bucket}`, sight, entry === undefined ? [] : [entry]);
    return { rules, entry };
  });
}

async function readMany(
  { pool, memory }: Reading,
  { namespace, bucket, keys, includeDeleted }: KeysName,
): Promise<FoundKeys> {
  const values = [namespace, bucket, textArray(keys), includeDeleted, ANSWER_BYTES_MAX];
  const { rows } = await pool.query<SeenRow & { [K in keyof EntryRow]: EntryRow[K] | null }>(
    READ_MANY,
    values,
  );
  const [first] = rows;
  if (first === undefined) return { rules: undefined, entries: [], unreadKeys: [] };
  const rules = { bucketId: BigInt(first.bucket_id as string), policy: first.policy };
  const found = rows.filter(({ key }) => key !== null);
  const entries = found
    .filter(({ revision }) => revision !== null)
    .map((row) => toEntry(row as EntryRow));
  const unreadKeys = found
    .filter(({ revision }) => revision === null)
    .map(({ key }) => key as string);
  const sight = { bucketId: rules.bucketId, revision: BigInt(first.seen) };
  memory.notice(`${namespace}/${bucket}`, sight, entries);
  return { rules, entries, unreadKeys };
}

async function sight(
  pool: Pool,
  names: readonly Pick<KeyName, "namespace" | "bucket">[],
): Promise<(BucketSight | undefined)[]> {
  const places = new Map<string, number>();
  const at = names.map(({ namespace, bucket }) => {
    const name = `${namespace}/${bucket}`;
    const place = places.get(name) ?? places.size;
    places.set(name, place);
    return place;
  });
  const unique = [...places.keys()].map((name) => name.split("/") as [string, string]);
  const { rows } = await pool.query<{
    bucket_id: string | null;
    policy: Policy;
    revision: string;
    now_ms: number;
  }>(SIGHT, [textArray(unique.map(([n]) => n)), textArray(unique.map(([, n]) => n))]);
  const sights = rows.map(({ bucket_id, policy, revision, now_ms: nowMs }) =>
    bucket_id === null
      ? undefined
      : { bucketId: BigInt(bucket_id), policy, revision: BigInt(revision), nowMs },
  );
  return at.map((place) => sights[place]);
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
