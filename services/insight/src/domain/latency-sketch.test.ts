import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { binOf, LatencySketch, RELATIVE_ACCURACY, valueOf, ZERO_BIN } from "./latency-sketch.ts";

const SHARES = [0, 0.01, 0.5, 0.95, 0.99, 1];
/** Rounding of the logarithm, far below the accuracy itself. */
const ROUNDING = 1e-9;

function sketchOf(values: readonly number[]): LatencySketch {
  const sketch = new LatencySketch();
  for (const value of values) sketch.add(value);
  return sketch;
}

/** The smallest value that is at least as large as this share of all: percentile_disc. */
function reference(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.max(1, Math.ceil(share * sorted.length)) - 1] ?? Number.NaN;
}

function durations() {
  return fc.array(
    fc.oneof(
      fc.nat({ max: 10 }),
      fc.nat({ max: 1_000_000 }),
      fc.maxSafeNat(),
      fc.constantFrom(0, 1, 2, 1_000, 86_400_000_000),
    ),
    { minLength: 1, maxLength: 200 },
  );
}

describe("LatencySketch", () => {
  it("gives every quantile within its accuracy, and the contract's 1 %", () => {
    expect(RELATIVE_ACCURACY).toBeLessThan(0.01);
    fc.assert(
      fc.property(durations(), (values) => {
        const quantiles = sketchOf(values).quantilesUs(SHARES);
        for (const [position, share] of SHARES.entries()) {
          const exact = reference(values, share);
          const error = Math.abs((quantiles[position] ?? Number.NaN) - exact);
          expect(error).toBeLessThanOrEqual(exact * (RELATIVE_ACCURACY + ROUNDING));
        }
      }),
    );
  });

  it("keeps count, mean and maximum exactly", () => {
    const sketch = sketchOf([3, 5, 1_000_000]);
    expect([sketch.count, sketch.meanUs, sketch.maxUs]).toEqual([3, 1_000_008 / 3, 1_000_000]);
  });

  it("says nothing of nothing", () => {
    const empty = new LatencySketch();
    expect([empty.count, empty.meanUs, empty.maxUs]).toEqual([0, undefined, undefined]);
    expect(empty.quantilesUs([0.5])).toEqual([undefined]);
  });

  it("holds the same merged as added one by one", () => {
    fc.assert(
      fc.property(durations(), durations(), (left, right) => {
        const merged = sketchOf(left);
        merged.merge(sketchOf(right));
        const whole = sketchOf([...left, ...right]);
        expect(merged.quantilesUs(SHARES)).toEqual(whole.quantilesUs(SHARES));
        expect([merged.count, merged.maxUs]).toEqual([whole.count, whole.maxUs]);
        const mean = whole.meanUs ?? 0;
        expect(Math.abs((merged.meanUs ?? 0) - mean)).toBeLessThanOrEqual(mean * ROUNDING);
      }),
    );
  });

  it("comes back from its bytes as it was, and can go on", () => {
    fc.assert(
      fc.property(durations(), (values) => {
        const copy = LatencySketch.decode(sketchOf(values).encode());
        expect(copy.encode()).toEqual(sketchOf(values).encode());
        copy.merge(copy);
        expect(copy.count).toBe(2 * values.length);
      }),
    );
  });

  it("takes a few bytes a bin", () => {
    const minute = sketchOf(Array.from({ length: 60 }, (_, n) => 900_000 + n * 5_000));
    expect(minute.encode().length).toBeLessThan(120);
    const everything = sketchOf(Array.from({ length: 4_000 }, (_, bin) => valueOf(bin)));
    expect(everything.encode().length).toBeLessThan(16_000);
  });

  it.each([
    ["nothing", Buffer.alloc(0)],
    ["another version", Buffer.alloc(40, 9)],
    ["a cut", sketchOf([5, 70_000]).encode().subarray(0, -1)],
  ])("refuses %s", (_name, bytes) => {
    expect(() => LatencySketch.decode(bytes)).toThrow(RangeError);
  });

  it("has bins that grow with the value", () => {
    expect([binOf(0), binOf(0.9), binOf(1)]).toEqual([ZERO_BIN, ZERO_BIN, 0]);
    expect(valueOf(ZERO_BIN)).toBe(0);
    expect(binOf(1_000_000) - binOf(500_000)).toBeGreaterThan(60);
  });
});
