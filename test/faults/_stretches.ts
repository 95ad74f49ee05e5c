/** What messages took in stretches of a run, alone and beside something, and how far such figures are apart by chance. */
import { createRandom, type Random } from "./_random.ts";

const PERCENTILE = 0.99;
/** Halves of the stretches alone that are compared with the other half. */
const SPLITS = 200;
/** Of those so many are no further apart than what is called chance. */
const SPLITS_WITHIN = 0.9;

/** What a stretch was beside. */
export type Side = "alone" | "beside";

/** One kind of messages on both sides. */
export interface Comparison {
  readonly aloneMs: number;
  readonly besideMs: number;
  /** Beside, in times of alone. */
  readonly ratio: number;
  /** The same of one half of the stretches alone and the other half, the larger by the smaller: nine in ten of them are below. */
  readonly byChance: number;
}

/** Collects samples by key, and compares the 99th percentiles of all samples of each side: a stretch of some thousand messages has a few
 * dozen in its last hundredth, and a single stop of the machine puts as many there. */
export class Stretches {
  readonly #byKey = new Map<string, Record<Side, (readonly number[])[]>>();

  add(key: string, side: Side, tookMs: readonly number[]): void {
    const known = this.#byKey.get(key) ?? { alone: [], beside: [] };
    this.#byKey.set(key, known);
    known[side].push(tookMs);
  }

  get keys(): string[] {
    return [...this.#byKey.keys()];
  }

  compare(key: string): Comparison {
    const { alone, beside } = this.#byKey.get(key) ?? { alone: [], beside: [] };
    const [aloneMs, besideMs] = [percentileOf(alone), percentileOf(beside)];
    return { aloneMs, besideMs, ratio: besideMs / aloneMs, byChance: apartByChance(alone) };
  }
}

function percentileOf(stretches: readonly (readonly number[])[]): number {
  const sorted = Float64Array.from(stretches.flat()).sort();
  return sorted[Math.floor(sorted.length * PERCENTILE)] ?? Number.NaN;
}

function apartByChance(stretches: readonly (readonly number[])[]): number {
  const random = createRandom(1);
  const apart = Array.from({ length: SPLITS }, () => {
    const mixed = shuffled(stretches, random);
    const half = Math.floor(mixed.length / 2);
    const [one, other] = [mixed.slice(0, half), mixed.slice(half)].map(percentileOf);
    return Math.exp(Math.abs(Math.log((one ?? 1) / (other ?? 1))));
  });
  return apart.sort((a, b) => a - b)[Math.floor(SPLITS * SPLITS_WITHIN)] ?? Number.NaN;
}

function shuffled<T>(items: readonly T[], random: Random): T[] {
  return items
    .map((item) => ({ item, at: random.next() }))
    .sort((a, b) => a.at - b.at)
    .map(({ item }) => item);
}
