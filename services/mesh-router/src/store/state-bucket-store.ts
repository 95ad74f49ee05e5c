/** Buckets in Postgres. Quotas are reserved when a bucket is made or changed, so that no write has to ask about its namespace. */
import { decodePageToken, encodePageToken, type Pool, type Queryable } from "@nexus/postgres";
import { NexusError } from "@nexus/shared";
import type {
  Bucket,
  BucketChange,
  BucketStore,
  NamespaceQuota,
  NewBucket,
} from "../domain/state/bucket.ts";
import { noBucket, REQUEST_REUSED, toError } from "../domain/state/refusals.ts";
import type { CommitNotices } from "../domain/state/state-ports.ts";
import { withLeaf } from "./audited.ts";
import { BUCKET_COLUMNS, type BucketRow, toBucket } from "./state-bucket-row.ts";
import { NOTIFY_CHANGES } from "./state-sql.ts";

const PAGE_KIND = "state-buckets";
const NAMED = "namespace = $1 AND name = $2";

/** What all buckets of a namespace may have together. */
const RESERVED = `
SELECT count(*)::int AS buckets, coalesce(sum(keys_max), 0)::float8 AS keys, coalesce(sum(bytes_max), 0)::float8 AS bytes
FROM state_buckets WHERE namespace = $1`;

/** Begins behind every bucket that there was: a watch that comes with an old revision is told so. */
const INSERT = `
INSERT INTO state_buckets (namespace, name, policy, keys_max, bytes_max, value_bytes_max, watchers_max,
  default_ttl_ms, revision, trimmed_revision, created_by, create_request, create_body)
SELECT $1, $2, $3, $4, $5, $6, $7, $8, n.revision_floor + 1, n.revision_floor + 1, $9, $10::uuid, $11
FROM state_namespaces n WHERE n.namespace = $1
RETURNING ${BUCKET_COLUMNS}`;

const UPDATE = `
UPDATE state_buckets SET
  keys_max = coalesce($3, keys_max), bytes_max = coalesce($4, bytes_max),
  value_bytes_max = coalesce($5, value_bytes_max), watchers_max = coalesce($6, watchers_max),
  default_ttl_ms = CASE WHEN $8::boolean THEN NULL ELSE coalesce($7, default_ttl_ms) END
WHERE ${NAMED}
RETURNING ${BUCKET_COLUMNS}`;

/** Its rows are removed by the sweep. */
const DELETE = `
WITH gone AS (
  DELETE FROM state_buckets WHERE ${NAMED} RETURNING bucket_id, namespace, revision
), dropped AS (
  INSERT INTO state_drops (bucket_id) SELECT bucket_id FROM gone
)
UPDATE state_namespaces n SET revision_floor = greatest(n.revision_floor, g.revision)
FROM gone g WHERE n.namespace = g.namespace
RETURNING g.bucket_id`;

/** Calls that made a bucket are remembered as those that write into one are, under no bucket's number: its own goes with it. */
const NO_BUCKET = 0;

const FIND_CREATION = `
SELECT body_hash, results FROM state_requests
WHERE bucket_id = ${NO_BUCKET} AND key = $1::uuid AND day >= (now() AT TIME ZONE 'utc')::date - 1`;

const NOTE_CREATION = `
INSERT INTO state_requests (bucket_id, key, body_hash, results) VALUES (${NO_BUCKET}, $1::uuid, $2, $3)`;

/** What the store is made from. */
export interface BucketStoreInit {
  readonly pool: Pool;
  readonly limits: NamespaceQuota;
  /** Undefined: others learn of a deletion by the bus. */
  readonly notices: CommitNotices | undefined;
  /** Hears what was deleted here. */
  readonly onDeleted: (bucketId: bigint) => void;
}

/** Creates the store. */
export function createBucketStore(init: BucketStoreInit): BucketStore {
  const { pool, limits } = init;
  return {
    create: (bucket) =>
      withLeaf(pool, bucket.leaf, (client) => createBucket(client, bucket, limits)),
    get: (namespace, name) => getBucket(pool, namespace, name),
    list: async ({ namespace, pageSize, pageToken }) => {
      const [after = ""] = decodePageToken(PAGE_KIND, pageToken, ["text"]) ?? [];
      const { rows } = await pool.query<BucketRow>(
        `SELECT ${BUCKET_COLUMNS} FROM state_buckets WHERE namespace = $1 AND name > $2 ORDER BY name LIMIT $3`,
        [namespace, after, pageSize + 1],
      );
      const buckets = rows.slice(0, pageSize).map(toBucket);
      const last = buckets.at(-1);
      const more = rows.length > pageSize && last !== undefined;
      return { buckets, nextPageToken: more ? encodePageToken(PAGE_KIND, [last.name]) : "" };
    },
    update: (namespace, name, change) =>
      withLeaf(pool, change.leaf, async (client) => {
        await lockNamespace(client, namespace);
        const bucket = await updateBucket(client, namespace, name, change);
        await assertFits(client, namespace, limits);
        return { value: bucket, isRepeat: false };
      }),
    delete: async (namespace, name, leaf) => {
      const bucketId = await withLeaf(pool, leaf, async (client) => {
        const value = await deleteBucket(client, init.notices, [namespace, name]);
        return { value, isRepeat: false };
      });
      if (bucketId !== undefined) init.onDeleted(bucketId);
      return bucketId !== undefined;
    },
  };
}

/** The number of the bucket; undefined when there was none. */
async function deleteBucket(
  client: Queryable,
  notices: CommitNotices | undefined,
  [namespace, name]: readonly [string, string],
): Promise<bigint | undefined> {
  await lockNamespace(client, namespace);
  const { rows } = await client.query<{ bucket_id: string }>(DELETE, [namespace, name]);
  const [gone] = rows;
  if (gone === undefined) return undefined;
  if (notices !== undefined) {
    await client.query(NOTIFY_CHANGES, [notices.channel, `${notices.source}/${gone.bucket_id}`]);
  }
  return BigInt(gone.bucket_id);
}

/** Whoever makes, changes or deletes buckets of a namespace does it one after the other. */
async function lockNamespace(client: Queryable, namespace: string): Promise<void> {
  await client.query(
    `INSERT INTO state_namespaces (namespace) VALUES ($1)
     ON CONFLICT (namespace) DO UPDATE SET namespace = excluded.namespace`,
    [namespace],
  );
}

async function createBucket(
  client: Queryable,
  bucket: NewBucket,
  limits: NamespaceQuota,
): Promise<{ readonly value: Bucket; readonly isRepeat: boolean }> {
  const { namespace, name, quota, request } = bucket;
  await lockNamespace(client, namespace);
  const row = await findRow(client, namespace, name);
  const isOwn = row?.create_request.replaceAll("-", "") === request.key;
  const earlier = isOwn
    ? { bodyHash: BigInt(row.create_body), bucket: toBucket(row) }
    : await findCreation(client, request.creationKey);
  if (earlier !== undefined) {
    if (earlier.bodyHash !== request.bodyHash) throw toError(REQUEST_REUSED);
    return { value: earlier.bucket, isRepeat: true };
  }
  if (row !== undefined) throw bucketExists(name);
  const { rows } = await client.query<BucketRow>(INSERT, [
    namespace,
    name,
    bucket.policy,
    quota.keysMax,
    quota.bytesMax,
    quota.valueBytesMax,
    quota.watchersMax,
    bucket.defaultTtlMs ?? null,
    bucket.createdBy,
    request.key,
    request.bodyHash,
  ]);
  await assertFits(client, namespace, limits);
  const made = rows[0] as BucketRow;
  const note = [request.creationKey, request.bodyHash, JSON.stringify(made)];
  await client.query(NOTE_CREATION, note);
  return { value: toBucket(made), isRepeat: false };
}

type CreatedRow = BucketRow & { readonly create_request: string; readonly create_body: string };

async function findRow(
  client: Queryable,
  namespace: string,
  name: string,
): Promise<CreatedRow | undefined> {
  const { rows } = await client.query<CreatedRow>(
    `SELECT ${BUCKET_COLUMNS}, create_request, create_body FROM state_buckets WHERE ${NAMED}`,
    [namespace, name],
  );
  return rows[0];
}

/** What a call of the last 24 h made, though it may be gone by now. */
async function findCreation(
  client: Queryable,
  key: string,
): Promise<{ readonly bodyHash: bigint; readonly bucket: Bucket } | undefined> {
  const { rows } = await client.query<{ body_hash: string; results: string }>(FIND_CREATION, [key]);
  const [found] = rows;
  if (found === undefined) return undefined;
  const made = JSON.parse(found.results) as BucketRow;
  const bucket = toBucket({ ...made, created_at: new Date(made.created_at) });
  return { bodyHash: BigInt(found.body_hash), bucket };
}

async function getBucket(pool: Queryable, namespace: string, name: string): Promise<Bucket> {
  const { rows } = await pool.query<BucketRow>(
    {
      name: "state-get-bucket",
      text: `SELECT ${BUCKET_COLUMNS} FROM state_buckets WHERE ${NAMED}`,
    },
    [namespace, name],
  );
  if (rows[0] === undefined) throw toError(noBucket(name));
  return toBucket(rows[0]);
}

async function updateBucket(
  client: Queryable,
  namespace: string,
  name: string,
  { quota, defaultTtlMs }: BucketChange,
): Promise<Bucket> {
  const { rows } = await client.query<BucketRow>(UPDATE, [
    namespace,
    name,
    quota?.keysMax ?? null,
    quota?.bytesMax ?? null,
    quota?.valueBytesMax ?? null,
    quota?.watchersMax ?? null,
    defaultTtlMs ?? null,
    defaultTtlMs === null,
  ]);
  if (rows[0] === undefined) throw toError(noBucket(name));
  return toBucket(rows[0]);
}

/** Asked with the change in place, which is taken back when it does not fit. */
async function assertFits(
  client: Queryable,
  namespace: string,
  { bucketsMax, keysMax, bytesMax }: NamespaceQuota,
): Promise<void> {
  const { rows } = await client.query<{ buckets: number; keys: number; bytes: number }>(RESERVED, [
    namespace,
  ]);
  const { buckets = 0, keys = 0, bytes = 0 } = rows[0] ?? {};
  if (buckets <= bucketsMax && keys <= keysMax && bytes <= bytesMax) return;
  throw new NexusError({
    kind: "exhausted",
    reason: "STATE_NAMESPACE_QUOTA",
    message: `The buckets of a namespace may have ${bucketsMax} names, ${keysMax} keys and ${bytesMax} bytes between them; with this one it would be ${buckets}, ${keys} and ${bytes}.`,
  });
}

function bucketExists(name: string): NexusError {
  return new NexusError({
    kind: "exists",
    reason: "STATE_BUCKET_EXISTS",
    message: `There is a bucket ${name} already.`,
  });
}
