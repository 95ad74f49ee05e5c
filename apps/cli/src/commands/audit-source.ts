/** Where an audit log comes from: vault, or a file that somebody exported. */
import { createReadStream } from "node:fs";
import { BinaryReader, WireType } from "@bufbuild/protobuf/wire";
import { HASH_BYTES, type LoggedLeaf } from "@nexus/merkle";
import { AuditEntrySchema } from "@nexus/proto/common";
import type { ExportEntriesResponse } from "@nexus/proto/vault";
import { usageError } from "../usage-error.ts";

/** The first line of an export says what the file is. */
export const EXPORT_FORMAT = "nexus-audit-export/1";

/** One read of a file. */
const READ_BYTES = 1_048_576;

/** A log with what it says about itself. */
export interface AuditSource {
  /** The key that it says signed its checkpoints. */
  readonly key: string;
  readonly checkpoints: readonly string[];
  readonly leaves: AsyncIterable<LoggedLeaf>;
}

/** What is in the lines of an exported file: first one of these, then the leaves. */
interface StartLine {
  readonly format: string;
  readonly key: string;
  readonly checkpoints: readonly string[];
}

interface LeafLine {
  readonly index: number;
  readonly leaf: string;
  readonly hash: string;
}

/** Field `index` of AuditEntry. The last one in a leaf counts, as in every protobuf message. */
const INDEX_FIELD = AuditEntrySchema.field.index.number;

/** The place that a leaf names itself; undefined for bytes that are no entry, which its hash will tell. Walks over the fields
 * without decoding them: that made up half of a verification. */
function ownIndexOf(leaf: Uint8Array): number | undefined {
  let index: number | undefined;
  try {
    const reader = new BinaryReader(leaf);
    while (reader.pos < reader.len) {
      const [field, type] = reader.tag();
      if (field === INDEX_FIELD && type === WireType.Varint) index = Number(reader.uint64());
      else reader.skip(type);
    }
  } catch {
    return undefined;
  }
  return index ?? 0;
}

/** Reads the stream of ExportEntries. */
export async function readExport(
  frames: AsyncIterable<ExportEntriesResponse>,
): Promise<AuditSource> {
  const iterator = frames[Symbol.asyncIterator]();
  const first = await iterator.next();
  const frame = first.done === true ? undefined : first.value.frame;
  if (frame?.case !== "start") throw usageError("The export does not begin with its start.");
  const { key, checkpoints } = frame.value;
  return { key, checkpoints, leaves: leavesOf({ [Symbol.asyncIterator]: () => iterator }) };
}

async function* leavesOf(frames: AsyncIterable<ExportEntriesResponse>): AsyncGenerator<LoggedLeaf> {
  for await (const { frame } of frames) {
    if (frame.case !== "leaves") continue;
    const { leaves, storedHashes } = frame.value;
    for (const [place, { index, leaf }] of leaves.entries()) {
      const at = place * HASH_BYTES;
      const storedHash = storedHashes.subarray(at, at + HASH_BYTES);
      yield { index: Number(index), leaf, ownIndex: ownIndexOf(leaf), storedHash };
    }
  }
}

/** Writes a source as lines of JSON. */
export async function* toLines({ key, checkpoints, leaves }: AuditSource): AsyncGenerator<string> {
  const start: StartLine = { format: EXPORT_FORMAT, key, checkpoints };
  yield JSON.stringify(start);
  for await (const { index, leaf, storedHash = new Uint8Array() } of leaves) {
    const line: LeafLine = { index, leaf: toBase64(leaf), hash: toBase64(storedHash) };
    yield JSON.stringify(line);
  }
}

function toBase64(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("base64");
}

/** Reads an exported file. Errors: invalid/USAGE for a file that is none. */
export async function readExportFile(path: string): Promise<AuditSource> {
  const batches = linesOf(createReadStream(path, { encoding: "utf8", highWaterMark: READ_BYTES }));
  const first = await batches.next();
  const [line = "", ...rest] = first.done === true ? [] : first.value;
  const start = parseLine<StartLine>(line, 1);
  if (start.format !== EXPORT_FORMAT) throw usageError(`${path} is no ${EXPORT_FORMAT}.`);
  return { ...start, leaves: leavesOfLines(rest, batches) };
}

/** The lines of a text, as many at once as a piece of it holds: one at a time is several times slower. */
async function* linesOf(pieces: AsyncIterable<string>): AsyncGenerator<readonly string[]> {
  let unfinished = "";
  for await (const piece of pieces) {
    const lines = (unfinished + piece).split("\n");
    unfinished = lines.pop() ?? "";
    if (lines.length > 0) yield lines;
  }
  if (unfinished !== "") yield [unfinished];
}

async function* leavesOfLines(
  first: readonly string[],
  others: AsyncIterable<readonly string[]>,
): AsyncGenerator<LoggedLeaf> {
  let number = 1;
  const read = (line: string): LoggedLeaf | undefined => {
    number++;
    return line === "" ? undefined : toLeaf(parseLine<LeafLine>(line, number));
  };
  for (const line of first) {
    const leaf = read(line);
    if (leaf !== undefined) yield leaf;
  }
  for await (const lines of others) {
    for (const line of lines) {
      const leaf = read(line);
      if (leaf !== undefined) yield leaf;
    }
  }
}

function toLeaf({ index, leaf: text, hash }: LeafLine): LoggedLeaf {
  const leaf = Buffer.from(text, "base64");
  const storedHash = hash === "" ? undefined : Buffer.from(hash, "base64");
  return { index, leaf, ownIndex: ownIndexOf(leaf), storedHash };
}

function parseLine<T>(line: string, number: number): T {
  try {
    return JSON.parse(line) as T;
  } catch {
    throw usageError(`Line ${number} of the file is no JSON.`);
  }
}
