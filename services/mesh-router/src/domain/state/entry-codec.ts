/** Entries and changes as bytes: what is known about them as JSON, their values behind it. */
import type { Change, ChangeKind, Entry, Origin } from "./entry.ts";
import type { WriteResult, WriteStatus } from "./write.ts";

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

/** Before a row of the log: how long the part is that is JSON. */
const LENGTH_BYTES = 4;

/** Packs what one transaction writes. An entry stands in its row and in the log with the same text, made once; most entries of a
 * transaction have one origin. */
export class EntryPacker {
  readonly #metas = new Map<Entry, string>();
  #origin: Origin | undefined;
  #originText = "";

  /** What is known about an entry, as JSON. */
  meta(entry: Entry): string {
    let text = this.#metas.get(entry);
    if (text === undefined) {
      text = this.#metaOf(entry);
      this.#metas.set(entry, text);
    }
    return text;
  }

  /** The values of an entry. */
  values({ versions }: Entry): Uint8Array {
    const [first] = versions;
    if (first !== undefined && versions.length === 1) return first.data;
    return Buffer.concat(versions.map(({ data }) => data));
  }

  /** The changes of one transaction, for one row of the log. */
  changes(changes: readonly Change[]): Buffer {
    let head = "";
    let valueBytes = 0;
    for (const { kind, entry } of changes) {
      const part = `["${kind}",${JSON.stringify(entry.key)},"${entry.revision}",${this.meta(entry)}]`;
      head += head === "" ? `[${part}` : `,${part}`;
      for (const { data } of entry.versions) valueBytes += data.byteLength;
    }
    head += head === "" ? "[]" : "]";
    const headBytes = Buffer.byteLength(head);
    const packed = Buffer.allocUnsafe(LENGTH_BYTES + headBytes + valueBytes);
    packed.writeUInt32BE(headBytes);
    let at = LENGTH_BYTES + packed.write(head, LENGTH_BYTES);
    for (const { entry } of changes) {
      for (const { data } of entry.versions) {
        packed.set(data, at);
        at += data.byteLength;
      }
    }
    return packed;
  }

  /** As JSON.stringify() would write a Meta. */
  #metaOf({ sizeBytes, origin, versions, tally, time, expiresAtMs }: Entry): string {
    let text = `{"s":${sizeBytes},"o":${this.#originOf(origin)}`;
    if (versions.length > 0) {
      const parts = versions.map(({ id, contentType, data, origin: by }) => {
        const own = by === origin ? "0" : JSON.stringify(toParts(by));
        return `["${id}",${JSON.stringify(contentType)},${data.byteLength},${own}]`;
      });
      text += `,"v":[${parts.join(",")}]`;
    }
    if (tally !== undefined) text += `,"c":["${tally.plus}","${tally.minus}"]`;
    if (time !== undefined) text += `,"t":[${time.physicalMs},${time.logical}]`;
    return expiresAtMs === undefined ? `${text}}` : `${text},"x":${expiresAtMs}}`;
  }

  #originOf(origin: Origin): string {
    if (this.#origin !== origin) {
      this.#origin = origin;
      this.#originText = JSON.stringify(toParts(origin));
    }
    return this.#originText;
  }
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

function toParts({ principalId, taskId, fence, traceId, atMs }: Origin): OriginParts {
  return [principalId, taskId, String(fence), traceId, atMs];
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
