/** Where an audit log comes from: vault, or a file that somebody exported. */
import { createReadStream } from "node:fs";
import { HASH_BYTES, type LoggedLeaf } from "@nexus/merkle";
import type { ExportEntriesResponse } from "@nexus/proto/vault";
import { usageError } from "../usage-error.ts";
import { ownIndexOf } from "./leaf-index.ts";

/** The first line of an export says what the file is. */
export const EXPORT_FORMAT = "nexus-audit-export/1";

/** One read of a file. */
const READ_BYTES = 1_048_576;

/** A log with what it says about itself. */
export interface AuditSource {
  /** The key that it says signed its checkpoints. */
  readonly key: string;
  readonly checkpoints: readonly string[];
  /** In order, many at a time: to wait for each by itself is a third of a verification. */
  readonly leaves: AsyncIterable<readonly LoggedLeaf[]>;
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

async function* leavesOf(
  frames: AsyncIterable<ExportEntriesResponse>,
): AsyncGenerator<readonly LoggedLeaf[]> {
  for await (const { frame } of frames) {
    if (frame.case !== "leaves") continue;
    const { leaves, storedHashes } = frame.value;
    yield leaves.map(({ index, leaf }, place) => {
      const at = place * HASH_BYTES;
      const storedHash = storedHashes.subarray(at, at + HASH_BYTES);
      return { index: Number(index), leaf, ownIndex: ownIndexOf(leaf), storedHash };
    });
  }
}

/** Writes a source as lines of JSON. */
export async function* toLines({ key, checkpoints, leaves }: AuditSource): AsyncGenerator<string> {
  const start: StartLine = { format: EXPORT_FORMAT, key, checkpoints };
  yield JSON.stringify(start);
  for await (const some of leaves) {
    for (const { index, leaf, storedHash = new Uint8Array() } of some) {
      const line: LeafLine = { index, leaf: toBase64(leaf), hash: toBase64(storedHash) };
      yield JSON.stringify(line);
    }
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
): AsyncGenerator<readonly LoggedLeaf[]> {
  let number = 1;
  const read = (lines: readonly string[]): readonly LoggedLeaf[] => {
    const leaves: LoggedLeaf[] = [];
    for (const line of lines) {
      number++;
      if (line !== "") leaves.push(toLeaf(tryReadLeafLine(line) ?? parseLine(line, number)));
    }
    return leaves;
  };
  yield read(first);
  for await (const lines of others) yield read(lines);
}

function toLeaf({ index, leaf: text, hash }: LeafLine): LoggedLeaf {
  const leaf = Buffer.from(text, "base64");
  const storedHash = hash === "" ? undefined : Buffer.from(hash, "base64");
  return { index, leaf, ownIndex: ownIndexOf(leaf), storedHash };
}

const BEFORE_INDEX = '{"index":';
const BEFORE_LEAF = ',"leaf":"';
const BEFORE_HASH = '","hash":"';
const AFTER_HASH = '"}';

/** Reads a line of exactly the form that toLines() writes, several times as fast as a JSON parser, which reads all others. */
function tryReadLeafLine(line: string): LeafLine | undefined {
  // With an escape the text is not what it says.
  if (!line.startsWith(BEFORE_INDEX) || line.includes("\\")) return undefined;
  const indexEnd = line.indexOf(BEFORE_LEAF, BEFORE_INDEX.length);
  const leafAt = indexEnd + BEFORE_LEAF.length;
  const leafEnd = line.indexOf('"', leafAt);
  if (indexEnd < 0 || !line.startsWith(BEFORE_HASH, leafEnd)) return undefined;
  const hashAt = leafEnd + BEFORE_HASH.length;
  const hashEnd = line.indexOf('"', hashAt);
  if (hashEnd !== line.length - AFTER_HASH.length || !line.endsWith("}")) return undefined;
  const digits = line.slice(BEFORE_INDEX.length, indexEnd);
  if (!/^(?:0|[1-9]\d{0,15})$/.test(digits)) return undefined;
  return {
    index: Number(digits),
    leaf: line.slice(leafAt, leafEnd),
    hash: line.slice(hashAt, hashEnd),
  };
}

function parseLine<T>(line: string, number: number): T {
  try {
    return JSON.parse(line) as T;
  } catch {
    throw usageError(`Line ${number} of the file is no JSON.`);
  }
}
