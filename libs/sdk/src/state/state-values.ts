/** From what the contract says to what programs see, and back. */
import type { MessageInitShape } from "@bufbuild/protobuf";
import { durationFromMs, timestampMs } from "@bufbuild/protobuf/wkt";
import {
  type StateEntry as EntryMessage,
  type StateOrigin as OriginMessage,
  type StateWriteResult,
  type StateWriteSchema,
  StateWriteStatus,
} from "@nexus/proto/mesh";
import { ERROR_REASONS, isErrorReason, NexusError } from "@nexus/shared";
import { fromPayload, toPayload } from "../payload.ts";
import {
  type DeleteOptions,
  type PutOptions,
  StateConflict,
  type StateEntry,
  type StateOrigin,
  type StateWrite,
  type StateWritten,
} from "./state.ts";

/** A write of the contract. */
export type WriteInit = MessageInitShape<typeof StateWriteSchema>;

/** Reads a key. */
export function toEntry<T>(message: EntryMessage): StateEntry<T> {
  const versions = message.versions.map(({ versionId, value, origin }) => ({
    id: versionId,
    value: fromPayload(value) as T,
    origin: toOrigin(origin),
  }));
  const { key, revision, counter, context, deleted, expireTime } = message;
  return {
    key,
    revision,
    value: versions.at(-1)?.value,
    versions,
    counter,
    context,
    deleted,
    expiresAtMs: expireTime === undefined ? undefined : timestampMs(expireTime),
    lastChange: toOrigin(message.lastChange),
  };
}

function toOrigin(origin: OriginMessage | undefined): StateOrigin {
  return {
    principalId: origin?.principalId ?? "",
    taskId: origin?.taskId ?? "",
    traceId: origin?.traceId ?? "",
    atMs: origin?.writeTime === undefined ? 0 : timestampMs(origin.writeTime),
  };
}

/** Writes a put. */
export function putOf(key: string, value: unknown, options: PutOptions = {}): WriteInit {
  const { ttlMs } = options;
  const put = {
    value: toPayload(value),
    ...termsOf(options),
    ...(ttlMs === undefined ? {} : { ttl: durationFromMs(ttlMs) }),
  };
  return { key, operation: { case: "put", value: put } };
}

/** Writes a deletion. */
export function deleteOf(key: string, options: DeleteOptions = {}): WriteInit {
  return { key, operation: { case: "delete", value: termsOf(options) } };
}

/** Writes an increment. */
export function incrementOf(key: string, by: bigint | number): WriteInit {
  return { key, operation: { case: "increment", value: { delta: BigInt(by) } } };
}

/** Writes a resolution. */
export function resolveOf(entry: StateEntry<unknown>, value: unknown): WriteInit {
  const versionIds = entry.versions.map(({ id }) => id);
  const resolved = value === undefined ? {} : { value: toPayload(value) };
  return { key: entry.key, operation: { case: "resolve", value: { versionIds, ...resolved } } };
}

/** Writes a part of a transaction. */
export function writeOf(write: StateWrite<unknown>): WriteInit {
  if ("put" in write) return putOf(write.put, write.value, write.options);
  if ("delete" in write) return deleteOf(write.delete, write.options);
  return incrementOf(write.increment, write.by);
}

/** What a key takes beside its text, a precondition's revision included. */
export const KEY_OVERHEAD_BYTES = 16;
/** What a write takes beside its texts and bytes: tags, lengths, revision, time and lifetime. */
const WRITE_OVERHEAD_BYTES = 128;
/** What the id of a version takes. */
const VERSION_ID_BYTES = 10;

/** How much of a call a write takes, at most. Keys and content types are ASCII. */
export function writeBytes({ key = "", operation }: WriteInit): number {
  const bytes = WRITE_OVERHEAD_BYTES + key.length;
  switch (operation?.case) {
    case "put":
      return bytes + payloadBytes(operation.value.value) + sizeOf(operation.value.context);
    case "delete":
      return bytes + sizeOf(operation.value.context);
    case "resolve":
      return (
        bytes +
        payloadBytes(operation.value.value) +
        VERSION_ID_BYTES * (operation.value.versionIds?.length ?? 0)
      );
    default:
      return bytes;
  }
}

function payloadBytes(
  payload: { readonly contentType?: string; readonly data?: Uint8Array } | undefined,
): number {
  return sizeOf(payload?.data) + (payload?.contentType?.length ?? 0);
}

function sizeOf(bytes: Uint8Array | undefined): number {
  return bytes?.byteLength ?? 0;
}

function termsOf({ expectedRevision, seen, atMs }: DeleteOptions) {
  return {
    ...(expectedRevision === undefined ? {} : { expectedRevision }),
    ...(seen === undefined ? {} : { context: new Uint8Array(seen.context) }),
    ...(atMs === undefined ? {} : { time: { physicalMs: BigInt(Math.floor(atMs)) } }),
  };
}

const STATUSES: Readonly<Partial<Record<StateWriteStatus, StateWritten["status"]>>> = {
  [StateWriteStatus.APPLIED]: "applied",
  [StateWriteStatus.SUPERSEDED]: "superseded",
  [StateWriteStatus.UNCHANGED]: "unchanged",
};

/** Reads what became of a write. */
export function toWritten(result: StateWriteResult): StateWritten {
  const { revision, context, counter, versions } = result;
  const status = STATUSES[result.status] ?? "applied";
  return { status, revision, context, counter, versions };
}

/** The error that a refused write of a batch stands for; undefined when it was not refused. */
export function tryRefusal(result: StateWriteResult): NexusError | undefined {
  if (result.status !== StateWriteStatus.REFUSED) return undefined;
  const { reason, message, current } = result;
  if (reason === "STATE_REVISION_MISMATCH") {
    return new StateConflict(message, current === undefined ? undefined : toEntry(current));
  }
  const kind = isErrorReason(reason) ? ERROR_REASONS[reason].kind : "internal";
  const init = { kind, reason, message };
  return new NexusError(init);
}
