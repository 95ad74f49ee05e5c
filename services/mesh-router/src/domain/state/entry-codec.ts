/** Entries and changes as bytes: what is known about them as JSON, their values behind it. */
import type { Change, ChangeKind, Entry, Origin, Version } from "./entry.ts";
import type { WriteResult, WriteStatus } from "./write.ts";

/** An entry as its row holds it, beside its key and its revision. */
export interface PackedEntry {
  readonly meta: string;
  readonly values: Uint8Array;
}

type OriginParts = readonly [
  principal: string,
  task: string,
  fence: string,
  trace: string,
  at: number,
];
type VersionParts = readonly [id: string, type: string, bytes: number, origin: OriginParts | 0];

/** One-letter names: there is one for every key of every bucket. */
interface Meta {
  /** Size. */
  readonly s: number;
  /** Origin of the last change. */
  readonly o: OriginParts;
  /** Versions; an origin of 0 is that of the last change. */
  readonly v?: readonly VersionParts[];
  /** Counter. */
  readonly c?: readonly [plus: string, minus: string];
  /** Hybrid time; its node is the origin's. */
  readonly t?: readonly [physicalMs: number, logical: number];
  /** When it ends. */
  readonly x?: number;
}

/** Packs an entry for its row. */
export function packEntry(entry: Entry): PackedEntry {
  const chunks = entry.versions.map(({ data }) => data);
  const values = chunks.length === 1 ? (chunks[0] as Uint8Array) : Buffer.concat(chunks);
  return { meta: JSON.stringify(toMeta(entry)), values };
}

/** Reads a row; without its values when they were not read. */
export function unpackEntry(
  key: string,
  revision: bigint,
  meta: string,
  values: Uint8Array | undefined,
): Entry {
  return fromMeta(key, revision, JSON.parse(meta) as Meta, values);
}

function toMeta(entry: Entry): Meta {
  const { versions, tally, time, expiresAtMs, origin } = entry;
  return {
    s: entry.sizeBytes,
    o: toParts(origin),
    ...(versions.length === 0
      ? {}
      : { v: versions.map((version) => versionParts(version, origin)) }),
    ...(tally === undefined ? {} : { c: [String(tally.plus), String(tally.minus)] as const }),
    ...(time === undefined ? {} : { t: [time.physicalMs, time.logical] as const }),
    ...(expiresAtMs === undefined ? {} : { x: expiresAtMs }),
  };
}

function toParts({ principalId, taskId, fence, traceId, atMs }: Origin): OriginParts {
  return [principalId, taskId, String(fence), traceId, atMs];
}

function versionParts({ id, contentType, data, origin }: Version, last: Origin): VersionParts {
  return [String(id), contentType, data.byteLength, origin === last ? 0 : toParts(origin)];
}

function fromMeta(
  key: string,
  revision: bigint,
  meta: Meta,
  values: Uint8Array | undefined,
): Entry {
  const origin = fromParts(meta.o);
  let from = 0;
  const versions = (meta.v ?? []).map(([id, contentType, bytes, parts]) => {
    const data = values === undefined ? NO_BYTES : values.subarray(from, from + bytes);
    from += bytes;
    const by = parts === 0 ? origin : fromParts(parts);
    return { id: BigInt(id), contentType, data, origin: by };
  });
  const { c, t } = meta;
  return {
    key,
    revision,
    versions,
    tally: c === undefined ? undefined : { plus: BigInt(c[0]), minus: BigInt(c[1]) },
    time:
      t === undefined ? undefined : { physicalMs: t[0], logical: t[1], node: origin.principalId },
    origin,
    expiresAtMs: meta.x,
    deleted: meta.v === undefined && c === undefined,
    sizeBytes: meta.s,
    partial: values === undefined && from > 0,
  };
}

const NO_BYTES = new Uint8Array(0);

function fromParts([principalId, taskId, fence, traceId, atMs]: OriginParts): Origin {
  return { principalId, taskId, fence: BigInt(fence), traceId, atMs };
}

type ChangeParts = readonly [kind: ChangeKind, key: string, revision: string, meta: Meta];

const LENGTH_BYTES = 4;

/** Packs the changes of one transaction for one row of the log. */
export function packChanges(changes: readonly Change[]): Buffer {
  const parts = changes.map(
    ({ kind, entry }): ChangeParts => [kind, entry.key, String(entry.revision), toMeta(entry)],
  );
  const head = Buffer.from(JSON.stringify(parts));
  const length = Buffer.alloc(LENGTH_BYTES);
  length.writeUInt32BE(head.byteLength);
  const values = changes.flatMap(({ entry }) => entry.versions.map(({ data }) => data));
  return Buffer.concat([length, head, ...values]);
}

/** Reads a row of the log. */
export function unpackChanges(bytes: Buffer): Change[] {
  const headEnd = LENGTH_BYTES + bytes.readUInt32BE(0);
  const parts = JSON.parse(bytes.toString("utf8", LENGTH_BYTES, headEnd)) as ChangeParts[];
  let from = headEnd;
  return parts.map(([kind, key, revision, meta]) => {
    const end = (meta.v ?? []).reduce((at, [, , length]) => at + length, from);
    const entry = fromMeta(key, BigInt(revision), meta, bytes.subarray(from, end));
    from = end;
    return { kind, entry };
  });
}

type ResultParts = readonly [
  status: WriteStatus,
  revision: string,
  sum: string,
  versions: number,
  context: readonly string[] | 0,
  refusal: WriteResult["refusal"] | 0,
];

/** Packs what a call was answered, without what was stored beside it. */
export function packResults(results: readonly WriteResult[]): string {
  return JSON.stringify(
    results.map(
      ({ status, revision, sum, versions, context, refusal }): ResultParts => [
        status,
        String(revision),
        String(sum),
        versions,
        context === undefined ? 0 : [context.base, ...context.dots].map(String),
        refusal ?? 0,
      ],
    ),
  );
}

/** Reads what a call was answered. */
export function unpackResults(text: string): WriteResult[] {
  const parts = JSON.parse(text) as ResultParts[];
  return parts.map(([status, revision, sum, versions, context, refusal]) => ({
    status,
    revision: BigInt(revision),
    sum: BigInt(sum),
    versions,
    context: context === 0 ? undefined : toContext(context.map(BigInt)),
    ...(refusal === 0 || refusal === undefined ? {} : { refusal }),
  }));
}

function toContext([base = 0n, ...dots]: readonly bigint[]) {
  return { base, dots };
}
