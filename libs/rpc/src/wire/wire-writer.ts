/** Writes protobuf's wire format into one buffer, which is used again for every message: for hot paths, where the generated code
 * takes ten times as long. Source: protobuf.dev, "Encoding". */
import { KiB } from "@nexus/shared";
import { LENGTH, VARINT } from "./wire-reader.ts";

const FIRST_CAPACITY = 64 * KiB;
/** A tag has up to 5 bytes, a number up to 10. */
const TAG_AND_NUMBER_MAX = 15;
/** Largest number that a double holds exactly. */
const EXACT_MAX = BigInt(Number.MAX_SAFE_INTEGER);
/** A single huge message must not leave its buffer behind. */
const KEPT_CAPACITY_MAX = 2_048 * KiB;
/** A text up to this length is written here: the calls of native code that count its bytes and write it take as long as 36 characters do
 * (Node 24.9). Its length takes one byte. */
const SHORT_TEXT_MAX = 24;
const ASCII_MAX = 0x7f;

/** A message in the making. The size functions below are for fields with numbers below 16, whose tag is one byte. */
export class WireWriter {
  #buffer = Buffer.allocUnsafe(FIRST_CAPACITY);
  #at = 0;

  /** Bytes written since the last take(). */
  get size(): number {
    return this.#at;
  }

  /** Forgets what was written. */
  reset(): void {
    this.#at = 0;
  }

  /** Takes what was written and begins anew. */
  take(): Buffer {
    const written = Buffer.from(this.#buffer.subarray(0, this.#at));
    this.#at = 0;
    if (this.#buffer.length > KEPT_CAPACITY_MAX) this.#buffer = Buffer.allocUnsafe(FIRST_CAPACITY);
    return written;
  }

  /** Writes encoded fields as they are. */
  raw(bytes: Uint8Array): void {
    this.#room(bytes.length);
    this.#buffer.set(bytes, this.#at);
    this.#at += bytes.length;
  }

  /** Begins a length-delimited field whose content follows. */
  open(field: number, length: number): void {
    this.#tag(field, LENGTH);
    this.#varint(length);
  }

  /** Writes a length-delimited field. */
  bytes(field: number, bytes: Uint8Array): void {
    this.open(field, bytes.length);
    this.raw(bytes);
  }

  /** Writes a length-delimited field unless it is empty. */
  bytesIfAny(field: number, bytes: Uint8Array): void {
    if (bytes.length > 0) this.bytes(field, bytes);
  }

  /** Writes a text unless it is empty. */
  text(field: number, text: string): void {
    if (text === "") return;
    this.#tag(field, LENGTH);
    this.sizedText(text);
  }

  /** Begins a length-delimited field whose length is known at its end only; `guess` bytes are kept for it. Returns where its content
   * begins, for close(). */
  openUnsized(field: number, guess: number): number {
    this.#tag(field, LENGTH);
    this.#at += guess;
    return this.#at;
  }

  /** Ends such a field. Returns how many bytes its length took: the best guess for the next one. */
  closeUnsized(contentAt: number, guess: number): number {
    const length = this.#at - contentAt;
    const size = varintSize(length);
    if (size !== guess) {
      this.#room(Math.max(0, size - guess));
      this.#buffer.copyWithin(contentAt + size - guess, contentAt, this.#at);
      this.#at += size - guess;
    }
    const end = this.#at;
    this.#at = contentAt - guess;
    this.#varint(length);
    this.#at = end;
    return size;
  }

  /** Writes a tag; a number may follow without more room. */
  tag(field: number, type: number): void {
    this.#tag(field, type);
  }

  /** Writes a text with its length, an empty one too. */
  sizedText(text: string): void {
    if (text.length <= SHORT_TEXT_MAX && this.#shortAscii(text)) return;
    const length = Buffer.byteLength(text);
    this.#room(TAG_AND_NUMBER_MAX + length);
    this.#varint(length);
    // Nearly all texts are ASCII ids, which need no encoder.
    const encoding = length === text.length ? "latin1" : "utf8";
    this.#at += this.#buffer.write(text, this.#at, length, encoding);
  }

  /** Writes bytes with their length, none too. */
  sizedBytes(bytes: Uint8Array): void {
    this.#room(TAG_AND_NUMBER_MAX + bytes.length);
    this.#varint(bytes.length);
    this.#buffer.set(bytes, this.#at);
    this.#at += bytes.length;
  }

  /** Writes a 64-bit number, a negative one too. */
  int64(value: bigint): void {
    this.#room(TAG_AND_NUMBER_MAX);
    let rest = value < 0n ? BigInt.asUintN(64, value) : value;
    for (; rest > EXACT_MAX; rest >>= 7n) this.#buffer[this.#at++] = Number(rest & 0x7fn) | 0x80;
    this.#varint(Number(rest));
  }

  /** Writes a 32-bit number; a negative one takes ten bytes. */
  int32(value: number): void {
    if (value < 0) {
      this.int64(BigInt(value));
      return;
    }
    this.#room(TAG_AND_NUMBER_MAX);
    this.#varint(value);
  }

  /** Writes a number of 0 or more without a tag, 0 too. */
  varint(value: number): void {
    this.#room(TAG_AND_NUMBER_MAX);
    this.#varint(value);
  }

  double(value: number): void {
    this.#room(TAG_AND_NUMBER_MAX);
    this.#at = this.#buffer.writeDoubleLE(value, this.#at);
  }

  /** Writes a number of 0 or more unless it is 0. */
  uint(field: number, value: number): void {
    if (value === 0) return;
    this.#tag(field, VARINT);
    this.#varint(value);
  }

  /** Writes a 64-bit number of 0 or more unless it is 0. */
  uint64(field: number, value: bigint): void {
    if (value <= EXACT_MAX) {
      this.uint(field, Number(value));
      return;
    }
    this.#tag(field, VARINT);
    let rest = value;
    for (; rest > EXACT_MAX; rest >>= 7n) this.#buffer[this.#at++] = Number(rest & 0x7fn) | 0x80;
    this.#varint(Number(rest));
  }

  /** Makes room for the tag and for any number behind it. */
  #tag(field: number, type: number): void {
    this.#room(TAG_AND_NUMBER_MAX);
    this.#varint(field * 8 + type);
  }

  /** Writes a short text if it is ASCII; false, and nothing written, when it is not. */
  #shortAscii(text: string): boolean {
    this.#room(TAG_AND_NUMBER_MAX + SHORT_TEXT_MAX);
    const buffer = this.#buffer;
    let at = this.#at;
    buffer[at++] = text.length;
    for (let index = 0; index < text.length; index += 1) {
      const code = text.charCodeAt(index);
      if (code > ASCII_MAX) return false;
      buffer[at++] = code;
    }
    this.#at = at;
    return true;
  }

  #varint(value: number): void {
    let rest = value;
    while (rest > 0x7f) {
      this.#buffer[this.#at++] = (rest % 128) | 0x80;
      rest = Math.floor(rest / 128);
    }
    this.#buffer[this.#at++] = rest;
  }

  #room(length: number): void {
    if (this.#at + length <= this.#buffer.length) return;
    const larger = Buffer.allocUnsafe(Math.max(this.#buffer.length * 2, this.#at + length));
    this.#buffer.copy(larger, 0, 0, this.#at);
    this.#buffer = larger;
  }
}

/** Bytes of a varint. */
function varintSize(value: number): number {
  let size = 1;
  for (let rest = value; rest > 0x7f; rest = Math.floor(rest / 128)) size += 1;
  return size;
}

/** Bytes of a length-delimited field with a one-byte tag. */
export function fieldSize(length: number): number {
  return 1 + varintSize(length) + length;
}

/** The same, for a field that is left out when empty. */
export function fieldSizeIfAny(length: number): number {
  return length === 0 ? 0 : fieldSize(length);
}

/** Bytes of a text field, which is left out when empty. */
export function textSize(text: string): number {
  return fieldSizeIfAny(Buffer.byteLength(text));
}

/** Bytes of a number field, which is left out when 0. */
export function uintSize(value: number): number {
  return value === 0 ? 0 : 1 + varintSize(value);
}
