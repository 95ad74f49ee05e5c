import { describe, expect, it } from "vitest";
import { DrainMeter } from "./drain-meter.ts";

describe("DrainMeter", () => {
  it("cannot say a rate from one look, nor from looks within a second", () => {
    const meter = new DrainMeter();
    expect(meter.look(100, 0)).toBeUndefined();
    expect(meter.look(900, 999)).toBeUndefined();
  });

  it("says how much the count grew in a second since the oldest look of the last half minute", () => {
    const meter = new DrainMeter();
    meter.look(0, 0);
    expect(meter.look(500, 1_000)).toBe(500);
    expect(meter.look(2_000, 4_000)).toBe(500);
    expect(meter.look(2_000, 20_000)).toBe(100);
    expect(meter.look(2_000, 30_500)).toBeCloseTo(1_500 / 29.5, 9);
  });

  it("says zero of what does not drain, and nothing of what was long ago", () => {
    const meter = new DrainMeter();
    meter.look(7, 0);
    expect(meter.look(7, 5_000)).toBe(0);
    expect(meter.look(70, 100_000)).toBeUndefined();
  });

  it("begins anew when the count does", () => {
    const meter = new DrainMeter();
    meter.look(1_000, 0);
    expect(meter.look(10, 5_000)).toBeUndefined();
    expect(meter.look(20, 6_000)).toBe(10);
  });
});
