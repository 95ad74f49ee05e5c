/** How messages travel together: one entry of a stream. */

/** One message of a batch. */
export interface BatchItem {
  readonly kind: string;
  readonly body: Uint8Array;
}

/** Who wrote a batch, and where it stands among what they wrote to the same stream. */
export interface BatchHead {
  readonly from: string;
  /** New for each start of a replica. */
  readonly incarnation: string;
  /** Counts from 1 in each stream. */
  readonly sequence: number;
  /** By the publisher's clock. */
  readonly sentAtMs: number;
}

/** A batch as it was read. */
export interface Batch extends BatchHead {
  readonly items: readonly BatchItem[];
}

const VERSION = 1;
const NUMBER_BYTES = 8;
const LENGTH_BYTES = 4;

/** Bytes that a message takes in a batch. */
export function itemBytes({ kind, body }: BatchItem): number {
  return 1 + Buffer.byteLength(kind) + LENGTH_BYTES + body.byteLength;
}

/** Encodes a batch. Kinds and names are at most 255 bytes. */
export function encodeBatch(head: BatchHead, items: readonly BatchItem[]): Buffer {
  const size = items.reduce((sum, item) => sum + itemBytes(item), 0);
  const names = 2 + Buffer.byteLength(head.from) + Buffer.byteLength(head.incarnation);
  const bytes = Buffer.allocUnsafe(1 + names + 2 * NUMBER_BYTES + size);
  let at = bytes.writeUInt8(VERSION, 0);
  at = writeText(bytes, at, head.from);
  at = writeText(bytes, at, head.incarnation);
  at = bytes.writeDoubleBE(head.sequence, at);
  at = bytes.writeDoubleBE(head.sentAtMs, at);
  for (const { kind, body } of items) {
    at = writeText(bytes, at, kind);
    at = bytes.writeUInt32BE(body.byteLength, at);
    bytes.set(body, at);
    at += body.byteLength;
  }
  return bytes;
}

/** Decodes a batch; undefined when it is none, or of a version that is not known here. */
export function tryDecodeBatch(bytes: Buffer): Batch | undefined {
  try {
    const reader = new Reader(bytes);
    if (reader.byte() !== VERSION) return undefined;
    const from = reader.text();
    const incarnation = reader.text();
    const sequence = reader.number();
    const sentAtMs = reader.number();
    const items: BatchItem[] = [];
    while (!reader.isAtEnd) items.push({ kind: reader.text(), body: reader.body() });
    return { from, incarnation, sequence, sentAtMs, items };
  } catch (error) {
    // Cut off or made by somebody else.
    if (error instanceof RangeError) return undefined;
    throw error;
  }
}

function writeText(bytes: Buffer, at: number, text: string): number {
  const length = bytes.write(text, at + 1);
  bytes.writeUInt8(length, at);
  return at + 1 + length;
}

class Reader {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  get isAtEnd(): boolean {
    return this.#at >= this.#bytes.length;
  }

  byte(): number {
    this.#at += 1;
    return this.#bytes.readUInt8(this.#at - 1);
  }

  number(): number {
    this.#at += NUMBER_BYTES;
    return this.#bytes.readDoubleBE(this.#at - NUMBER_BYTES);
  }

  text(): string {
    return this.#take(this.byte()).toString();
  }

  body(): Uint8Array {
    this.#at += LENGTH_BYTES;
    return this.#take(this.#bytes.readUInt32BE(this.#at - LENGTH_BYTES));
  }

  #take(length: number): Buffer {
    if (this.#at + length > this.#bytes.length) throw new RangeError("the batch is cut off");
    this.#at += length;
    return this.#bytes.subarray(this.#at - length, this.#at);
  }
}
