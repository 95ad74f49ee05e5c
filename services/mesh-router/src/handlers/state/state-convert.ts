/** Where the contract of state meets the domain. */
import type { MessageInitShape } from "@bufbuild/protobuf";
import {
  durationFromMs,
  durationMs,
  timestampFromDate,
  timestampFromMs,
} from "@bufbuild/protobuf/wkt";
import {
  type StateBucketSchema,
  StateChangeKind,
  type StateDelete,
  type StateEntrySchema,
  type StateIncrement,
  type StateOriginSchema,
  StatePolicy,
  type StatePut,
  type StateQuota,
  type StateResolve,
  type StateWrite,
  type StateWriteResultSchema,
  StateWriteStatus,
} from "@nexus/proto/mesh";
import { detachFromFrame } from "@nexus/shared";
import { type Bucket, type Quota, quotaOf } from "../../domain/state/bucket.ts";
import { encodeContext } from "../../domain/state/causal-context.ts";
import { type ChangeKind, type Entry, type Origin, sumOf } from "../../domain/state/entry.ts";
import { toError, VALUE_REFERENCE } from "../../domain/state/refusals.ts";
import type { Op, Policy, WriteResult, WriteStatus } from "../../domain/state/write.ts";

/** The bucket, as far as its entries need it. */
export interface EntryRules {
  readonly bucketId: bigint;
  readonly policy: Policy;
}

const POLICIES: Readonly<Record<Policy, StatePolicy>> = {
  lww: StatePolicy.LWW,
  vector: StatePolicy.VECTOR,
  cas: StatePolicy.CAS,
  counter: StatePolicy.COUNTER,
};
const STATUSES: Readonly<Record<WriteStatus, StateWriteStatus>> = {
  applied: StateWriteStatus.APPLIED,
  superseded: StateWriteStatus.SUPERSEDED,
  unchanged: StateWriteStatus.UNCHANGED,
  refused: StateWriteStatus.REFUSED,
};
const CHANGES: Readonly<Record<ChangeKind, StateChangeKind>> = {
  put: StateChangeKind.PUT,
  delete: StateChangeKind.DELETE,
  expire: StateChangeKind.EXPIRE,
};
const NO_CONTENT_TYPE = "application/octet-stream";

/** Reads a policy; the contract's rules let no unknown one through. */
export function toPolicy(policy: StatePolicy): Policy {
  const [found] = Object.entries(POLICIES).find(([, value]) => value === policy) ?? ["lww"];
  return found as Policy;
}

/** Reads a quota; what is 0 or unset is the default. */
export function toQuota(quota: StateQuota | undefined): Quota {
  return quotaOf({
    keysMax: Number(quota?.keysMax ?? 0n),
    bytesMax: Number(quota?.bytesMax ?? 0n),
    valueBytesMax: quota?.valueBytesMax ?? 0,
    watchersMax: quota?.watchersMax ?? 0,
  });
}

/** Writes a kind of change. */
export function fromChangeKind(kind: ChangeKind): StateChangeKind {
  return CHANGES[kind];
}

/** Writes a bucket. */
export function fromBucket(bucket: Bucket): MessageInitShape<typeof StateBucketSchema> {
  const { quota, defaultTtlMs } = bucket;
  return {
    name: bucket.name,
    policy: POLICIES[bucket.policy],
    quota: {
      keysMax: BigInt(quota.keysMax),
      bytesMax: BigInt(quota.bytesMax),
      valueBytesMax: quota.valueBytesMax,
      watchersMax: quota.watchersMax,
    },
    ...(defaultTtlMs === undefined ? {} : { defaultTtl: durationFromMs(defaultTtlMs) }),
    revision: bucket.revision,
    oldestRevision: bucket.trimmedRevision,
    keys: BigInt(bucket.keys),
    tombstones: BigInt(bucket.tombstones),
    bytes: BigInt(bucket.bytes),
    createTime: timestampFromDate(bucket.createdAt),
    createdBy: bucket.createdBy,
  };
}

/** Reads a put of a key. Errors: invalid/STATE_VALUE_REFERENCE. Its value is kept in memory for watchers, the request around it is not. */
export function toPut(key: string, put: StatePut): Op {
  const { value, expectedRevision, context, time, ttl } = put;
  assertNoReference(value);
  return {
    kind: "put",
    key,
    contentType: contentTypeOf(value),
    data: detachFromFrame(value?.data ?? new Uint8Array(0)),
    expectedRevision,
    context,
    time: toTime(time),
    ttlMs: toTtl(ttl),
  };
}

/** Reads a deletion of a key. */
export function toDelete(key: string, deletion: StateDelete | undefined): Op {
  const { expectedRevision, context, time } = deletion ?? {};
  return { kind: "delete", key, expectedRevision, context, time: toTime(time) };
}

/** Reads an increment of a key. */
export function toIncrement(key: string, { delta, ttl }: StateIncrement): Op {
  return { kind: "increment", key, delta, ttlMs: toTtl(ttl) };
}

/** Reads a resolution of a key. Errors: invalid/STATE_VALUE_REFERENCE. */
export function toResolve(key: string, { versionIds, value, ttl }: StateResolve): Op {
  assertNoReference(value);
  const contentType = contentTypeOf(value);
  const data = value?.data;
  return {
    kind: "resolve",
    key,
    versionIds,
    value: data === undefined ? undefined : { contentType, data: detachFromFrame(data) },
    ttlMs: toTtl(ttl),
  };
}

/** Nobody would keep what the reference names for as long as the bucket keeps it. */
function assertNoReference(value: StatePut["value"]): void {
  if (value?.reference !== undefined) throw toError(VALUE_REFERENCE);
}

/** The contract's default for what says nothing. */
function contentTypeOf(value: StatePut["value"]): string {
  return value === undefined || value.contentType === "" ? NO_CONTENT_TYPE : value.contentType;
}

/** Reads any write. Errors: invalid/STATE_VALUE_REFERENCE. The contract's rules let none through that says nothing. */
export function toOp({ key, operation }: StateWrite): Op {
  switch (operation.case) {
    case "put":
      return toPut(key, operation.value);
    case "increment":
      return toIncrement(key, operation.value);
    case "resolve":
      return toResolve(key, operation.value);
    default:
      return toDelete(key, operation.value);
  }
}

/** Reads how long something lives: whole milliseconds. */
export function toTtl(ttl: StatePut["ttl"]): number | undefined {
  return ttl === undefined ? undefined : Math.max(1, Math.round(durationMs(ttl)));
}

function toTime(time: StatePut["time"]) {
  if (time === undefined) return undefined;
  return { physicalMs: Number(time.physicalMs), logical: time.logical };
}

/** Writes a key as it stands. */
export function fromEntry(
  entry: Entry,
  { bucketId, policy }: EntryRules,
): MessageInitShape<typeof StateEntrySchema> {
  const { key, revision, versions, expiresAtMs, deleted, origin, time } = entry;
  const seen = { base: revision, dots: [] };
  return {
    key,
    revision,
    versions: versions.map(({ id, contentType, data, origin: by }) => ({
      versionId: id,
      value: { contentType, data: data as Uint8Array<ArrayBuffer> },
      origin: fromOrigin(by),
    })),
    counter: sumOf(entry),
    ...(policy === "vector" ? { context: encodeContext(seen, bucketId, key) } : {}),
    ...(expiresAtMs === undefined ? {} : { expireTime: timestampFromMs(Math.floor(expiresAtMs)) }),
    deleted,
    lastChange: fromOrigin(origin),
    ...(time === undefined ? {} : { time: { ...time, physicalMs: BigInt(time.physicalMs) } }),
  };
}

function fromOrigin(origin: Origin): MessageInitShape<typeof StateOriginSchema> {
  const { principalId, taskId, fence, traceId, atMs } = origin;
  return { principalId, taskId, fence, traceId, writeTime: timestampFromMs(Math.floor(atMs)) };
}

/** Writes what became of a write; `showCurrent` says whether there is room for what is stored. */
export function fromResult(
  result: WriteResult,
  key: string,
  rules: EntryRules,
  showCurrent: boolean,
): MessageInitShape<typeof StateWriteResultSchema> {
  const { status, revision, context, sum, versions, refusal, current } = result;
  return {
    status: STATUSES[status],
    revision,
    ...(context === undefined ? {} : { context: encodeContext(context, rules.bucketId, key) }),
    counter: sum,
    versions,
    reason: refusal?.reason ?? "",
    message: refusal?.message ?? "",
    ...(current === undefined || !showCurrent ? {} : { current: fromEntry(current, rules) }),
  };
}
