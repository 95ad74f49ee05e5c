import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { describeValues, percentile } from "./statistics.ts";

const HUNDRED = Array.from({ length: 100 }, (_, index) => index + 1);

describe("percentile", () => {
  const cases: readonly (readonly [readonly number[], number, number])[] = [
    [HUNDRED, 0.5, 50],
    [HUNDRED, 0.55, 55],
    [HUNDRED, 0.95, 95],
    [HUNDRED, 0.99, 99],
    [HUNDRED, 0.991, 100],
    [HUNDRED, 0, 1],
    [HUNDRED, 1, 100],
    [[7], 0.5, 7],
    [[1, 2], 0.5, 1],
    [[1, 2], 0.51, 2],
    [[1, 2, 3], 0.95, 3],
  ];
  for (const [values, share, expected] of cases) {
    it(`finds ${expected} at ${share} of ${values.length} values`, () => {
      expect(percentile(values, share)).toBe(expected);
    });
  }

  it("refuses no values and shares that are none", () => {
    expect(() => percentile([], 0.5)).toThrow(RangeError);
    expect(() => percentile([1], 95)).toThrow(RangeError);
    expect(() => percentile([1], Number.NaN)).toThrow(RangeError);
  });

  it("is a measured value that the share does not exceed, and the smallest such", () => {
    const values = fc.array(fc.double({ noNaN: true, min: 0, max: 1e9 }), { minLength: 1 });
    const share = fc.integer({ min: 1, max: 1000 }).map((thousandths) => thousandths / 1000);
    fc.assert(
      fc.property(values, share, (given, part) => {
        const sorted = [...given].sort((a, b) => a - b);
        const found = percentile(sorted, part);
        const atMost = sorted.filter((value) => value <= found).length;
        const below = sorted.filter((value) => value < found).length;
        expect(sorted).toContain(found);
        expect(atMost).toBeGreaterThanOrEqual(part * sorted.length - 1e-6);
        expect(below).toBeLessThan(part * sorted.length + 1e-6);
      }),
    );
  });
});

describe("describeValues", () => {
  it("describes values in any order without changing them", () => {
    const values = [3, 1, 100, 2];
    expect(describeValues(values)).toEqual({
      count: 4,
      mean: 26.5,
      p50: 2,
      p95: 100,
      p99: 100,
      max: 100,
    });
    expect(values).toEqual([3, 1, 100, 2]);
  });

  it("sorts by size, not by text", () => {
    expect(describeValues([10, 9, 8, 100]).p50).toBe(9);
  });

  it("refuses values that are none", () => {
    expect(() => describeValues([])).toThrow(RangeError);
    expect(() => describeValues([1, Number.NaN])).toThrow(RangeError);
    expect(() => describeValues([1, Number.POSITIVE_INFINITY])).toThrow(RangeError);
  });
});
