/** Whole numbers in seven bits a byte, least significant first, as in protobuf; up to 2^53 - 1. */

const CONTINUES = 0x80;
const BITS = 0x7f;
const STEP = 0x80;

/** How many bytes a number takes. */
export function varintBytes(value: number): number {
  let bytes = 1;
  for (let rest = Math.floor(value / STEP); rest > 0; rest = Math.floor(rest / STEP)) bytes += 1;
  return bytes;
}

/** Writes a number and returns the offset behind it. */
export function writeVarint(bytes: Buffer, offset: number, value: number): number {
  let rest = value;
  let at = offset;
  while (rest >= STEP) {
    bytes[at] = (rest % STEP) + CONTINUES;
    rest = Math.floor(rest / STEP);
    at += 1;
  }
  bytes[at] = rest;
  return at + 1;
}

/** Reads a number. Throws a RangeError when it does not end inside the bytes. */
export function readVarint(bytes: Buffer, offset: number): { value: number; next: number } {
  let value = 0;
  let scale = 1;
  for (let at = offset; at < bytes.length; at++) {
    const byte = bytes[at] ?? 0;
    value += (byte & BITS) * scale;
    if (byte < CONTINUES) return { value, next: at + 1 };
    scale *= STEP;
  }
  throw new RangeError("a number is cut off");
}
