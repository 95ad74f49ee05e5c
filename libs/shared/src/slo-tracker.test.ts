import { describe, expect, it } from "vitest";
import { createManualClock } from "./clock.ts";
import { createSloTracker } from "./slo-tracker.ts";

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;

function setUp(objective = 0.99, windowMs = HOUR_MS, bucketMs = MINUTE_MS) {
  const clock = createManualClock(1_700_000_000_000);
  return { clock, slo: createSloTracker({ objective, windowMs, bucketMs, clock }) };
}

describe("createSloTracker", () => {
  it("meets its objective with an untouched budget when nothing happened", () => {
    expect(setUp().slo.report()).toMatchObject({
      total: 0,
      sli: 1,
      budgetRemaining: 1,
      burnRate: 0,
      met: true,
    });
  });

  it("computes SLI, budget and burn over the window", () => {
    const { slo } = setUp();
    slo.record(true, 995);
    for (let i = 0; i < 5; i++) slo.record(false);
    const report = slo.report();
    expect(report).toMatchObject({ good: 995, bad: 5, total: 1000, sli: 0.995, met: true });
    expect(report.errorBudget).toBeCloseTo(0.01);
    expect(report.budgetRemaining).toBeCloseTo(0.5);
    expect(report.burnRate).toBeCloseTo(0.5);
  });

  it("goes negative when the budget is overspent", () => {
    const { slo } = setUp();
    slo.record(true, 97);
    slo.record(false, 3);
    const report = slo.report();
    expect(report.budgetRemaining).toBeCloseTo(-2);
    expect(report.met).toBe(false);
  });

  it("forgets what is older than the window", () => {
    const { clock, slo } = setUp();
    slo.record(false, 10);
    clock.advance(HOUR_MS - MINUTE_MS);
    slo.record(true, 10);
    expect(slo.report().total).toBe(20);
    clock.advance(MINUTE_MS);
    expect(slo.report()).toMatchObject({ total: 10, bad: 0 });
    clock.advance(10 * DAY_MS);
    expect(slo.report().total).toBe(0);
  });

  it("tells a fast burn in a short window from a slow one in a long window", () => {
    const { clock, slo } = setUp();
    slo.record(true, 10_000);
    clock.advance(30 * MINUTE_MS);
    slo.record(true, 90);
    slo.record(false, 10);
    expect(slo.burnRate(5 * MINUTE_MS)).toBeCloseTo(10);
    expect(slo.burnRate(HOUR_MS)).toBeCloseTo(0.099, 2);
    clock.advance(6 * MINUTE_MS);
    expect(slo.burnRate(5 * MINUTE_MS)).toBe(0);
  });

  it("pages at 14.4 when 2 percent of a 30-day budget went in one hour", () => {
    const clock = createManualClock();
    const windowMs = 30 * DAY_MS;
    const slo = createSloTracker({ objective: 0.999, windowMs, bucketMs: 5 * MINUTE_MS, clock });
    slo.record(true, 98_560);
    slo.record(false, 1_440);
    expect(slo.burnRate(HOUR_MS)).toBeCloseTo(14.4);
  });

  it("reuses a slot of the ring only for its own time", () => {
    const { clock, slo } = setUp(0.9, 10 * MINUTE_MS, MINUTE_MS);
    for (let i = 0; i < 35; i++) {
      slo.record(true);
      clock.advance(MINUTE_MS);
    }
    clock.advance(-MINUTE_MS);
    expect(slo.report().total).toBe(10);
  });

  it("refuses an objective, a window or a resolution that makes no sense", () => {
    for (const objective of [0, 1, -1, 1.5, Number.NaN]) {
      expect(() => createSloTracker({ objective, windowMs: HOUR_MS })).toThrow(RangeError);
    }
    expect(() => createSloTracker({ objective: 0.9, windowMs: 0 })).toThrow(RangeError);
    const fine = { objective: 0.9, windowMs: 30 * DAY_MS, bucketMs: 1 };
    expect(() => createSloTracker(fine)).toThrow(RangeError);
  });
});
