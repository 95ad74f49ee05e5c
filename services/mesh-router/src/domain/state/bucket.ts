/** Buckets: what they are bounded by, and what is counted. */
import type { AuditLeaf } from "../audit-leaf.ts";
import { BYTES_DEFAULT, KEYS_DEFAULT, VALUE_BYTES_MAX, WATCHERS_DEFAULT } from "./state-limits.ts";
import type { Policy } from "./write.ts";

/** The bounds of a bucket. */
export interface Quota {
  readonly keysMax: number;
  readonly bytesMax: number;
  readonly valueBytesMax: number;
  readonly watchersMax: number;
}

/** What changes with every write. */
export interface BucketCounts {
  readonly revision: bigint;
  readonly keys: number;
  readonly tombstones: number;
  readonly bytes: number;
}

/** A bucket as writes see it. */
export interface BucketRules {
  readonly bucketId: bigint;
  readonly policy: Policy;
  readonly quota: Quota;
  readonly defaultTtlMs: number | undefined;
}

/** A bucket. */
export interface Bucket extends BucketRules, BucketCounts {
  readonly namespace: string;
  readonly name: string;
  /** Changes up to this revision are no longer kept. */
  readonly trimmedRevision: bigint;
  readonly createdAt: Date;
  readonly createdBy: string;
}

/** A bucket as it is asked for. */
export interface NewBucket {
  readonly namespace: string;
  readonly name: string;
  readonly policy: Policy;
  readonly quota: Quota;
  readonly defaultTtlMs: number | undefined;
  readonly createdBy: string;
  readonly request: {
    /** Names the call among its caller's. */
    readonly key: string;
    /** The same with the bucket's name: found also when the bucket is gone. */
    readonly creationKey: string;
    readonly bodyHash: bigint;
  };
  readonly leaf?: AuditLeaf | undefined;
}

/** What may change of a bucket; undefined: stays. */
export interface BucketChange {
  readonly quota: Quota | undefined;
  /** Null: keys live for ever. */
  readonly defaultTtlMs: number | null | undefined;
  readonly leaf?: AuditLeaf | undefined;
}

/** What the quotas of a namespace's buckets may add up to. */
export interface NamespaceQuota {
  readonly bucketsMax: number;
  readonly keysMax: number;
  readonly bytesMax: number;
}

/** Where buckets live. */
export interface BucketStore {
  /** Errors: exists/STATE_BUCKET_EXISTS; exhausted/STATE_NAMESPACE_QUOTA; conflict/REQUEST_ID_REUSED. */
  create(bucket: NewBucket): Promise<Bucket>;
  /** Errors: not_found/STATE_BUCKET_NOT_FOUND. */
  get(namespace: string, name: string): Promise<Bucket>;
  list(query: {
    readonly namespace: string;
    readonly pageSize: number;
    readonly pageToken: string;
  }): Promise<{ readonly buckets: readonly Bucket[]; readonly nextPageToken: string }>;
  /** Errors: not_found/STATE_BUCKET_NOT_FOUND; exhausted/STATE_NAMESPACE_QUOTA. */
  update(namespace: string, name: string, change: BucketChange): Promise<Bucket>;
  /** False when there was none. */
  delete(namespace: string, name: string, leaf?: AuditLeaf): Promise<boolean>;
}

/** Fills in what the maker of a bucket left open; 0 stands for the default. */
export function quotaOf({ keysMax, bytesMax, valueBytesMax, watchersMax }: Quota): Quota {
  return {
    keysMax: keysMax || KEYS_DEFAULT,
    bytesMax: bytesMax || BYTES_DEFAULT,
    valueBytesMax: valueBytesMax || VALUE_BYTES_MAX,
    watchersMax: watchersMax || WATCHERS_DEFAULT,
  };
}
