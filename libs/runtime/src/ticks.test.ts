import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { Ticks } from "./ticks.ts";

let ticks: Ticks;

beforeEach(() => {
  vi.useFakeTimers();
  // The half keeps rounding from moving a moment before a tick that it is at.
  ticks = new Ticks(0.5 - performance.now());
});
afterEach(() => {
  vi.useRealTimers();
});

/** How many timers there are more, or fewer, behind `act`. All of them also count what else the process has begun. */
function timersBy(act: () => void): number {
  const before = vi.getTimerCount();
  act();
  return vi.getTimerCount() - before;
}

describe("Ticks", () => {
  it("has one timer for all that is due at the same moment", async () => {
    const called: string[] = [];
    expect(timersBy(() => ticks.next(200, () => called.push("a")))).toBe(1);
    await vi.advanceTimersByTimeAsync(40);
    expect(timersBy(() => ticks.next(200, () => called.push("b")))).toBe(0);
    await vi.advanceTimersByTimeAsync(110);
    expect(timersBy(() => ticks.next(50, () => called.push("c")))).toBe(0);
    await vi.advanceTimersByTimeAsync(49);
    expect(called).toEqual([]);
    await vi.advanceTimersByTimeAsync(1);
    expect(called).toEqual(["a", "b", "c"]);
    expect(timersBy(() => ticks.next(200, () => called.push("d")))).toBe(1);
  });

  it("never waits longer than the interval, whatever the phase", async () => {
    for (const phaseMs of [0, 1, 50, 99, 12_345]) {
      const shifted = new Ticks(phaseMs - performance.now());
      const waits: number[] = [];
      for (const afterMs of [0, 49, 1, 49]) {
        await vi.advanceTimersByTimeAsync(afterMs);
        const fromMs = performance.now();
        shifted.next(100, () => waits.push(Math.round(performance.now() - fromMs)));
      }
      await vi.advanceTimersByTimeAsync(200);
      expect(waits).toHaveLength(4);
      expect(Math.min(...waits)).toBeGreaterThan(0);
      expect(Math.max(...waits)).toBeLessThanOrEqual(100);
    }
  });

  it("keeps no timer for what was taken back", () => {
    const takeBack = [ticks.next(100, vi.fn()), ticks.next(100, vi.fn())];
    expect(timersBy(() => takeBack[0]?.())).toBe(0);
    expect(timersBy(() => takeBack[1]?.())).toBe(-1);
    expect(timersBy(() => takeBack[1]?.())).toBe(0);
  });

  it("calls what is due still when one of them takes another back", async () => {
    const called: string[] = [];
    ticks.next(100, () => {
      called.push("a");
      takeBack();
    });
    const takeBack = ticks.next(100, () => called.push("b"));
    ticks.next(100, () => called.push("c"));
    await vi.advanceTimersByTimeAsync(100);
    expect(called).toEqual(["a", "c"]);
  });
});
