/** Rows of buckets. */
import type { Bucket } from "../domain/state/bucket.ts";
import type { Policy } from "../domain/state/write.ts";

/** What is read of a row: named, since a prepared `*` breaks when a column is added. */
export const BUCKET_COLUMNS = [
  "bucket_id",
  "namespace",
  "name",
  "policy",
  "keys_max",
  "bytes_max",
  "value_bytes_max",
  "watchers_max",
  "default_ttl_ms",
  "revision",
  "trimmed_revision",
  "keys",
  "tombstones",
  "bytes",
  "created_at",
  "created_by",
].join(", ");

/** A row of state_buckets; int8 columns are texts. */
export interface BucketRow {
  readonly bucket_id: string;
  readonly namespace: string;
  readonly name: string;
  readonly policy: Policy;
  readonly keys_max: string;
  readonly bytes_max: string;
  readonly value_bytes_max: number;
  readonly watchers_max: number;
  readonly default_ttl_ms: string | null;
  readonly revision: string;
  readonly trimmed_revision: string;
  readonly keys: string;
  readonly tombstones: string;
  readonly bytes: string;
  readonly created_at: Date;
  readonly created_by: string;
}

/** Reads a row. */
export function toBucket(row: BucketRow): Bucket {
  return {
    bucketId: BigInt(row.bucket_id),
    namespace: row.namespace,
    name: row.name,
    policy: row.policy,
    quota: {
      keysMax: Number(row.keys_max),
      bytesMax: Number(row.bytes_max),
      valueBytesMax: row.value_bytes_max,
      watchersMax: row.watchers_max,
    },
    defaultTtlMs: row.default_ttl_ms === null ? undefined : Number(row.default_ttl_ms),
    revision: BigInt(row.revision),
    trimmedRevision: BigInt(row.trimmed_revision),
    keys: Number(row.keys),
    tombstones: Number(row.tombstones),
    bytes: Number(row.bytes),
    createdAt: row.created_at,
    createdBy: row.created_by,
  };
}
