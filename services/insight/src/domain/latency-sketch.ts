/** Distributions of durations that can be merged, within half a percent of every value.
 *
 * A DDSketch: values are counted in bins whose width grows with the value, so that the middle of a bin is within
 * RELATIVE_ACCURACY of everything in it. Only bins that hold something are kept, because most of the sketches stored here are of a
 * minute and hold a few values; sum and maximum are kept exactly.
 * Source: Masson, Rim and Lee 2019, "DDSketch: a fast and fully-mergeable quantile sketch", VLDB 12.
 */
import { readVarint, varintBytes, writeVarint } from "./varint.ts";

/** Half of what the contract allows, which leaves room for rounding. */
export const RELATIVE_ACCURACY = 0.005;

const GAMMA = (1 + RELATIVE_ACCURACY) / (1 - RELATIVE_ACCURACY);

/** Natural logarithm of the ratio between the bounds of a bin; SQL that bins values divides by it. */
export const LN_GAMMA = Math.log(GAMMA);

/** The bin of durations of no length. */
export const ZERO_BIN = -1;

const VERSION = 1;
const HEADER_BYTES = 1 + 8 + 8;

/** The bin of a duration in microseconds. */
export function binOf(valueUs: number): number {
  return valueUs < 1 ? ZERO_BIN : Math.ceil(Math.log(valueUs) / LN_GAMMA);
}

/** The duration that stands for a bin. */
export function valueOf(bin: number): number {
  return bin === ZERO_BIN ? 0 : (2 * GAMMA ** bin) / (GAMMA + 1);
}

/** Counts of durations in microseconds. */
export class LatencySketch {
  readonly #bins = new Map<number, number>();
  #count = 0;
  #sumUs = 0;
  #maxUs = 0;

  /** How many durations were added. */
  get count(): number {
    return this.#count;
  }

  /** Arithmetic mean; undefined without any. */
  get meanUs(): number | undefined {
    return this.#count === 0 ? undefined : this.#sumUs / this.#count;
  }

  /** The longest; undefined without any. */
  get maxUs(): number | undefined {
    return this.#count === 0 ? undefined : this.#maxUs;
  }

  /** Adds one duration. */
  add(valueUs: number): void {
    this.addBin({ bin: binOf(valueUs), count: 1, sumUs: valueUs, maxUs: valueUs });
  }

  /** Adds durations that were binned elsewhere. */
  addBin(added: {
    readonly bin: number;
    readonly count: number;
    readonly sumUs: number;
    readonly maxUs: number;
  }): void {
    this.#bins.set(added.bin, (this.#bins.get(added.bin) ?? 0) + added.count);
    this.#count += added.count;
    this.#sumUs += added.sumUs;
    this.#maxUs = Math.max(this.#maxUs, added.maxUs);
  }

  /** Adds everything that another sketch holds. */
  merge(other: LatencySketch): void {
    for (const [bin, count] of other.#bins) {
      this.#bins.set(bin, (this.#bins.get(bin) ?? 0) + count);
    }
    this.#count += other.#count;
    this.#sumUs += other.#sumUs;
    this.#maxUs = Math.max(this.#maxUs, other.#maxUs);
  }

  /** The smallest durations that are at least as long as these shares (rising) of all; undefined without any. */
  quantilesUs(shares: readonly number[]): readonly (number | undefined)[] {
    const bins = this.#sortedBins();
    let position = 0;
    let below = 0;
    return shares.map((share) => {
      const rank = Math.max(1, Math.ceil(share * this.#count));
      for (; position < bins.length; position++) {
        const [bin, count] = bins[position] ?? [0, 0];
        if (below + count >= rank) return Math.min(valueOf(bin), this.#maxUs);
        below += count;
      }
      return this.maxUs;
    });
  }

  /** Writes the sketch: version, sum, maximum, then each bin as the distance from the last one and its count. */
  encode(): Buffer {
    const bins = this.#sortedBins();
    const numbers: number[] = [];
    let last = ZERO_BIN;
    for (const [bin, count] of bins) {
      numbers.push(bin - last, count);
      last = bin;
    }
    const size = numbers.reduce((sum, number) => sum + varintBytes(number), HEADER_BYTES);
    const bytes = Buffer.alloc(size);
    bytes.writeUInt8(VERSION, 0);
    bytes.writeDoubleLE(this.#sumUs, 1);
    bytes.writeDoubleLE(this.#maxUs, 9);
    let offset = HEADER_BYTES;
    for (const number of numbers) offset = writeVarint(bytes, offset, number);
    return bytes;
  }

  /** Reads what encode() wrote. Throws a RangeError for anything else. */
  static decode(bytes: Buffer): LatencySketch {
    if (bytes.length < HEADER_BYTES || bytes.readUInt8(0) !== VERSION) {
      throw new RangeError("not a latency sketch");
    }
    const sketch = new LatencySketch();
    let bin = ZERO_BIN;
    for (let offset = HEADER_BYTES; offset < bytes.length; ) {
      const distance = readVarint(bytes, offset);
      const count = readVarint(bytes, distance.next);
      bin += distance.value;
      sketch.#bins.set(bin, count.value);
      sketch.#count += count.value;
      offset = count.next;
    }
    sketch.#sumUs = bytes.readDoubleLE(1);
    sketch.#maxUs = bytes.readDoubleLE(9);
    return sketch;
  }

  #sortedBins(): [number, number][] {
    return [...this.#bins].sort(([a], [b]) => a - b);
  }
}
