import { describe, expect, it } from "vitest";
import { createPerformanceTimers, type PerformanceTimerOptions } from "./performance-timers.ts";

/** Timers over a clock that the test moves. */
function setUp(options: PerformanceTimerOptions = {}) {
  let now = 0;
  const timers = createPerformanceTimers({ ...options, nowMs: () => now });
  const take = (name: string, ms: number) => {
    const stop = timers.start(name);
    now += ms;
    return stop();
  };
  return { timers, take, pass: (ms: number) => (now += ms) };
}

describe("createPerformanceTimers", () => {
  it("returns the milliseconds of one measurement", () => {
    expect(setUp().take("a", 12)).toBe(12);
  });

  it("summarises by nearest rank", () => {
    const { timers, take } = setUp();
    for (let ms = 100; ms >= 1; ms--) take("a", ms);
    expect(timers.snapshot()).toEqual({
      a: { count: 100, meanMs: 50.5, p50Ms: 50, p95Ms: 95, p99Ms: 99, maxMs: 100 },
    });
  });

  it("keeps only the newest samples for quantiles, and all for count, mean and max", () => {
    const { timers, take } = setUp({ samplesMax: 10 });
    take("a", 1000);
    for (let i = 0; i < 10; i++) take("a", 1);
    const { a } = timers.snapshot();
    expect(a).toMatchObject({ count: 11, p99Ms: 1, maxMs: 1000 });
  });

  it("measures a function that returns, throws, resolves or rejects", async () => {
    const { timers, pass } = setUp();
    expect(timers.time("sync", () => pass(1))).toBe(1);
    const broken = () => {
      pass(2);
      throw new Error("broken");
    };
    expect(() => timers.time("throws", broken)).toThrow("broken");
    const slow = async () => {
      await Promise.resolve();
      pass(3);
    };
    await timers.time("async", slow);
    await expect(timers.time("rejects", () => slow().then(broken))).rejects.toThrow("broken");
    const counts = Object.entries(timers.snapshot()).map(
      ([name, s]) => `${name} ${s.count} ${s.maxMs}`,
    );
    expect(counts).toEqual(["sync 1 1", "throws 1 2", "async 1 3", "rejects 1 5"]);
  });

  it("records names beyond the limit together", () => {
    const { timers, take } = setUp({ namesMax: 2 });
    for (const name of ["a", "b", "c", "d"]) take(name, 1);
    const counts = Object.entries(timers.snapshot()).map(([name, { count }]) => `${name} ${count}`);
    expect(counts).toEqual(["a 1", "b 1", "other 2"]);
  });

  it("forgets everything on reset", () => {
    const { timers, take } = setUp();
    take("a", 1);
    timers.reset();
    expect(timers.snapshot()).toEqual({});
  });
});
