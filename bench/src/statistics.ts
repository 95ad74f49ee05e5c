/** Exact statistics over every value measured: no sketch, no sampling. Pure. */

/** What a set of values looks like. */
export interface Distribution {
  readonly count: number;
  readonly mean: number;
  readonly p50: number;
  readonly p95: number;
  readonly p99: number;
  readonly max: number;
}

/** Returns the smallest value that at least `share` of all values do not exceed (the nearest-rank percentile).
 *
 * It is always a value that was measured, never one between two.
 * Errors: RangeError for no values, or a share outside 0 to 1. */
export function percentile(sorted: ArrayLike<number>, share: number): number {
  if (!(share >= 0 && share <= 1)) throw new RangeError(`${share} is not a share`);
  // The product of two exact numbers can come out a hair above a whole one: 0.55 * 100 is 55.00000000000001.
  const rank = Math.max(1, Math.ceil(share * sorted.length - ROUNDING));
  const value = sorted[rank - 1];
  if (value === undefined) throw new RangeError("no values, no percentile");
  return value;
}

const ROUNDING = 1e-9;

/** Describes values in any order. Errors: RangeError for no values or one that is not a finite number. */
export function describeValues(values: ArrayLike<number>): Distribution {
  const sorted = Float64Array.from(values).sort();
  const sum = sorted.reduce((total, value) => total + value, 0);
  if (!Number.isFinite(sum)) throw new RangeError("a value is not a finite number");
  return {
    count: sorted.length,
    mean: sum / sorted.length,
    p50: percentile(sorted, 0.5),
    p95: percentile(sorted, 0.95),
    p99: percentile(sorted, 0.99),
    max: percentile(sorted, 1),
  };
}
