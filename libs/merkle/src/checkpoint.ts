import { HASH_BYTES } from "./hashes.ts";
import { textOf } from "./note.ts";

/** The state of a log at one size. */
export interface Checkpoint {
  /** Which log. */
  readonly origin: string;
  readonly size: number;
  readonly root: Uint8Array;
}

const SIZE = /^(0|[1-9][0-9]{0,15})$/;

/** Writes what a log signs. Source: C2SP tlog-checkpoint. */
export function formatCheckpoint({ origin, size, root }: Checkpoint): string {
  return `${origin}\n${size}\n${Buffer.from(root).toString("base64")}\n`;
}

/** Reads a checkpoint, signed or not; undefined when it is none. Its signatures are not looked at. */
export function tryParseCheckpoint(note: string): Checkpoint | undefined {
  const [origin = "", size = "", encoded = ""] = textOf(note).split("\n");
  const root = Buffer.from(encoded, "base64");
  const wellFormed = origin !== "" && SIZE.test(size) && root.byteLength === HASH_BYTES;
  if (!wellFormed || !Number.isSafeInteger(Number(size))) return undefined;
  return { origin, size: Number(size), root };
}
