/** Whole numbers in seven bits a byte, least significant first, as in protobuf, up to 2^53 - 1; texts behind their length. */

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

/** How many bytes a text takes. */
export function textBytes(text: string): number {
  const length = Buffer.byteLength(text);
  return varintBytes(length) + length;
}

/** Writes a text and returns the offset behind it. */
export function writeText(bytes: Buffer, offset: number, text: string): number {
  const start = writeVarint(bytes, offset, Buffer.byteLength(text));
  return start + bytes.write(text, start);
}

/** Reads a text. Throws a RangeError when it does not end inside the bytes. */
export function readText(bytes: Buffer, offset: number): { text: string; next: number } {
  const { value: length, next: start } = readVarint(bytes, offset);
  if (start + length > bytes.length) throw new RangeError("a text is cut off");
  return { text: bytes.toString("utf8", start, start + length), next: start + length };
}
