/** Reads protobuf's wire format in place: no copies, no objects. Source: protobuf.dev, "Encoding". */
import { isUtf8 } from "node:buffer";

/** The bytes, or a rule of the contract, are wrong. The text names what, for the peer. */
export class WireError extends Error {
  override readonly name = "WireError";
}

/** The wire type of numbers and enums. Groups (types 3 and 4) are not part of our contracts and are refused. */
export const VARINT = 0;
/** The wire type of doubles, and of whole numbers of eight bytes. */
export const FIXED64 = 1;
/** The wire type of texts, bytes, messages and packed numbers. */
export const LENGTH = 2;
const FIXED32 = 5;

const FIELD_SHIFT = 3;
const TYPE_MASK = 7;
const FIELD_MAX = 536_870_911;
const VARINT_BYTES_MAX = 10;
/** A varint of up to this many bytes is exact in a double: 7 x 7 bits. */
const EXACT_BYTES_MAX = 7;
/** The scale of a varint's last byte of seven. */
const VARINT_SCALE_MAX = 2 ** 42;
const ASCII_MAX = 0x7f;
/** A character of UTF-8 has one byte that is no continuation, and three more at most. */
const CONTINUATION_MASK = 0xc0;
const CONTINUATION = 0x80;
const CHARACTER_BYTES_MAX = 4;
const INT32_MAX = 0x7fff_ffff;
const UINT32_MAX = 0xffff_ffff;

/** A cursor over one message and the messages inside it. */
export class WireReader {
  readonly #bytes: Buffer;
  #at = 0;
  #end: number;
  /** Field number of the last tag. */
  field = 0;
  /** Wire type of the last tag. */
  type = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
    this.#end = bytes.length;
  }

  /** Moves to the next field; false at the end of the message. */
  next(): boolean {
    if (this.#at >= this.#end) return false;
    const tag = this.varint();
    // Nearly all fields have numbers below 16.
    this.field = tag <= ASCII_MAX ? tag >> FIELD_SHIFT : Math.floor(tag / (1 << FIELD_SHIFT));
    this.type = tag & TYPE_MASK;
    if (this.field === 0 || this.field > FIELD_MAX) {
      throw new WireError("a field's number is out of range");
    }
    return true;
  }

  /** Reads a varint as a number: exact below 2^49, else only good for comparisons and for skipping. */
  varint(): number {
    // Most are tags and short lengths.
    const first = this.#bytes[this.#at] as number;
    if (this.#at < this.#end && first <= ASCII_MAX) {
      this.#at += 1;
      return first;
    }
    let value = 0;
    let scale = 1;
    for (let i = 0; i < VARINT_BYTES_MAX; i += 1) {
      if (this.#at >= this.#end) break;
      const byte = this.#bytes[this.#at++] as number;
      value += (byte & 0x7f) * scale;
      if (byte <= ASCII_MAX) return value;
      scale *= 128;
    }
    throw new WireError("a number is cut off or too long");
  }

  /** Reads an int64. */
  int64(): bigint {
    const from = this.#at;
    const value = this.varint();
    if (this.#at - from <= EXACT_BYTES_MAX) return BigInt(value);
    return this.#wideInt64(from);
  }

  /** Reads an int32, or an enum. */
  int32(): number {
    const from = this.#at;
    const value = this.varint();
    return value <= INT32_MAX ? value : Number(BigInt.asIntN(32, this.#wideInt64(from)));
  }

  /** Reads a uint64. */
  uint64(): bigint {
    return BigInt.asUintN(64, this.int64());
  }

  /** Reads a uint32. */
  uint32(): number {
    const from = this.#at;
    const value = this.varint();
    return value <= UINT32_MAX ? value : Number(BigInt.asUintN(32, this.#wideInt64(from)));
  }

  /** Reads a bool. */
  bool(): boolean {
    return this.varint() !== 0;
  }

  /** Reads a double. */
  double(): number {
    const from = this.#advance(8);
    return this.#bytes.readDoubleLE(from);
  }

  /** Reads a length-delimited value in place. */
  bytes(): Buffer {
    const length = this.varint();
    const from = this.#advance(length);
    return this.#bytes.subarray(from, from + length);
  }

  /** Passes over a length-delimited value. Returns its length. */
  passBytes(): number {
    const length = this.varint();
    this.#advance(length);
    return length;
  }

  /** Passes over a length-delimited value that is equal to these bytes; another one stays. Says whether it did. */
  passSame(bytes: Uint8Array): boolean {
    const start = this.#startOf(bytes.length);
    if (start < 0) return false;
    // From the end: names that are alike mostly differ there.
    for (let at = bytes.length - 1; at >= 0; at -= 1) {
      if (this.#bytes[start + at] !== bytes[at]) return false;
    }
    this.#at = start + bytes.length;
    return true;
  }

  /** Passes over a text that is equal to this one, if it is ASCII; another one stays. Says whether it did. */
  passSameText(text: string): boolean {
    const start = this.#startOf(text.length);
    if (start < 0) return false;
    for (let at = text.length - 1; at >= 0; at -= 1) {
      const code = text.charCodeAt(at);
      if (code > ASCII_MAX || this.#bytes[start + at] !== code) return false;
    }
    this.#at = start + text.length;
    return true;
  }

  /** Passes over a text. Returns how many characters it has, as the contract's length rules count them. */
  passText(): number {
    const length = this.varint();
    const from = this.#advance(length);
    let at = from;
    while (at < this.#at && (this.#bytes[at] as number) <= ASCII_MAX) at += 1;
    return at === this.#at ? length : textLength(this.#bytes.subarray(from, this.#at));
  }

  /** Reads a text. One that has more bytes than so many characters can have fails unread. */
  text(charactersMax = Number.POSITIVE_INFINITY): string {
    const length = this.varint();
    if (length > CHARACTER_BYTES_MAX * charactersMax) {
      throw new WireError(`field ${this.field} must have at most ${charactersMax} characters`);
    }
    const from = this.#advance(length);
    const end = this.#at;
    let at = from;
    while (at < end && (this.#bytes[at] as number) <= ASCII_MAX) at += 1;
    if (at === end) return this.#bytes.toString("latin1", from, end);
    if (!isUtf8(this.#bytes.subarray(at, end))) throw new WireError("a text is not UTF-8");
    return this.#bytes.toString("utf8", from, end);
  }

  /** Reads a text. Bytes that are no UTF-8 become U+FFFD. */
  looseText(): string {
    const length = this.varint();
    const from = this.#advance(length);
    let at = from;
    while (at < this.#at && (this.#bytes[at] as number) <= ASCII_MAX) at += 1;
    return this.#bytes.toString(at === this.#at ? "latin1" : "utf8", from, this.#at);
  }

  /** Says whether all of the message was read. */
  get atEnd(): boolean {
    return this.#at >= this.#end;
  }

  /** Goes into a message; hand the result to leave(). */
  enter(): number {
    const length = this.varint();
    const outer = this.#end;
    if (this.#at + length > outer) throw new WireError("a message is cut off");
    this.#end = this.#at + length;
    return outer;
  }

  /** Leaves a message. */
  leave(outer: number): void {
    this.#at = this.#end;
    this.#end = outer;
  }

  /** The bytes of the message entered last, from its first field to its end. Call it right after enter(). */
  message(): Buffer {
    return this.#bytes.subarray(this.#at, this.#end);
  }

  /** Skips the value of the last tag. */
  skip(): void {
    if (this.type === VARINT) this.varint();
    else if (this.type === FIXED64) this.#advance(8);
    else if (this.type === LENGTH) this.#advance(this.varint());
    else if (this.type === FIXED32) this.#advance(4);
    else throw new WireError(`a field has the wire type ${this.type}`);
  }

  /** Where the next value begins if it has this length, else -1; stays where it is. */
  #startOf(length: number): number {
    const from = this.#at;
    const start = this.varint() === length && this.#at + length <= this.#end ? this.#at : -1;
    this.#at = from;
    return start;
  }

  #advance(length: number): number {
    const from = this.#at;
    if (from + length > this.#end) throw new WireError("a field is cut off");
    this.#at = from + length;
    return from;
  }

  #wideInt64(from: number): bigint {
    let value = 0n;
    for (let i = this.#at - 1; i >= from; i -= 1) {
      value = (value << 7n) | BigInt((this.#bytes[i] as number) & 0x7f);
    }
    return BigInt.asIntN(64, value);
  }
}

/** Reads numbers of 0 or more that follow each other without tags; exact below 2^49. */
export function readVarints(bytes: Uint8Array): number[] {
  const values: number[] = [];
  let value = 0;
  let scale = 1;
  for (let at = 0; at < bytes.length; at += 1) {
    const byte = bytes[at] as number;
    if (byte <= ASCII_MAX) {
      values.push(value + byte * scale);
      value = 0;
      scale = 1;
    } else {
      value += (byte & 0x7f) * scale;
      scale *= 128;
      if (scale > VARINT_SCALE_MAX) throw new WireError("a number is too long");
    }
  }
  if (scale !== 1) throw new WireError("a number is cut off");
  return values;
}

/** Counts the characters of UTF-8 text as the contract's length rules do, or fails for bytes that are none. */
export function textLength(bytes: Buffer): number {
  if (!isUtf8(bytes)) throw new WireError("a text is not UTF-8");
  let length = 0;
  for (let i = 0; i < bytes.length; i += 1) {
    if (((bytes[i] as number) & CONTINUATION_MASK) !== CONTINUATION) length += 1;
  }
  return length;
}
