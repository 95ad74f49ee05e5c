import { setTimeout as wait } from "node:timers/promises";
import { NexusError } from "@nexus/shared";
import { describe, expect, it } from "vitest";
import { monotonicMs } from "./machine-clock.ts";
import { type Planned, runSaturated, runSteadily } from "./pace.ts";

const STEADY = { warmUpMs: 20, measureMs: 80, tickMs: 10, perTick: 3, inFlightMax: 100 };

describe("runSteadily", () => {
  it("begins all planned work at even times and counts what follows the warm-up", async () => {
    const begun: Planned[] = [];
    const result = await runSteadily(STEADY, async (planned) => {
      begun.push(planned);
      await Promise.resolve();
    });
    expect(result).toEqual({ done: 24, failed: 0, leftOut: 0, failure: undefined });
    expect(begun.map(({ index }) => index)).toEqual(
      Array.from({ length: 30 }, (_, index) => index),
    );
    expect(begun.filter(({ measured }) => !measured)).toHaveLength(6);
    const [first, , , second] = begun;
    expect((second?.plannedAtMs ?? 0) - (first?.plannedAtMs ?? 0)).toBeCloseTo(10, 6);
  });

  it("keeps its plan when the process was held up, so that the wait shows", async () => {
    let longestMs = 0;
    await runSteadily({ ...STEADY, warmUpMs: 0 }, async ({ index, plannedAtMs }) => {
      if (index === 0) blockFor(40);
      longestMs = Math.max(longestMs, monotonicMs() - plannedAtMs);
      await Promise.resolve();
    });
    expect(longestMs).toBeGreaterThan(39);
  });

  it("leaves out what would exceed the limit in flight, and says so", async () => {
    const longAfter = wait(1_000);
    const result = await runSteadily({ ...STEADY, warmUpMs: 0, inFlightMax: 5 }, () => longAfter);
    expect(result).toMatchObject({ done: 5, leftOut: 19 });
  });

  it("counts failures and keeps the first", async () => {
    const result = await runSteadily(STEADY, async ({ index }) => {
      await Promise.resolve();
      if (index >= 28) throw new Error(`number ${index}`);
    });
    expect(result).toEqual({ done: 22, failed: 2, leftOut: 0, failure: "number 28" });
  });
});

describe("runSaturated", () => {
  it("keeps the given number in flight and measures each piece of work", async () => {
    let running = 0;
    let most = 0;
    const result = await runSaturated({ warmUpMs: 20, measureMs: 100, inFlight: 4 }, async () => {
      running += 1;
      most = Math.max(most, running);
      await wait(5);
      running -= 1;
    });
    expect(most).toBe(4);
    expect(running).toBe(0);
    expect(result.failed).toBe(0);
    expect(result.perSecond).toBeCloseTo(result.latenciesMs.length * 10, 6);
    expect(Math.min(...result.latenciesMs)).toBeGreaterThan(3.5);
  });

  it("refuses to call nothing a measurement", async () => {
    const broken = () => Promise.reject(new Error("refused"));
    const options = { warmUpMs: 0, measureMs: 30, inFlight: 2, firstWithinMs: 20 };
    await expect(runSaturated(options, broken)).rejects.toThrow(
      /^nothing ended well within \d+ ms; the first failure: refused$/,
    );
  });

  it("begins to measure when something has ended, however long that takes", async () => {
    const options = { warmUpMs: 0, measureMs: 30, inFlight: 1 };
    const result = await runSaturated(options, (index) => wait(index === 0 ? 100 : 5));
    expect(Math.max(...result.latenciesMs.slice(1))).toBeLessThan(100);
    expect(result.latenciesMs.length).toBeGreaterThan(1);
  });

  it("goes on until something has ended within the measurement, and divides by how long that took", async () => {
    const options = { warmUpMs: 20, measureMs: 30, inFlight: 1 };
    const result = await runSaturated(options, (index) => wait(index === 0 ? 1 : 100));
    expect(result.latenciesMs).toHaveLength(1);
    expect(result.perSecond).toBeLessThan(20);
  });

  it("counts failures apart and goes on", async () => {
    const result = await runSaturated(
      { warmUpMs: 0, measureMs: 60, inFlight: 1 },
      async (index) => {
        await wait(1);
        if (index === 0) throw new Error("refused");
      },
    );
    expect(result).toMatchObject({ failed: 1, failure: "refused" });
    expect(result.latenciesMs.length).toBeGreaterThan(0);
  });
});

describe("a refusal that says when to come back", () => {
  it("is believed, but not beyond the end", async () => {
    const details = { retryAfterMs: 60_000 };
    const full = new NexusError({ kind: "exhausted", reason: "FULL", message: "full", details });
    let refusals = 0;
    const startedAtMs = monotonicMs();
    await runSaturated({ warmUpMs: 0, measureMs: 100, inFlight: 2 }, async (index) => {
      await wait(1);
      if (index !== 0) return;
      refusals += 1;
      throw full;
    });
    expect(refusals).toBe(1);
    expect(monotonicMs() - startedAtMs).toBeLessThan(30_000);
  });
});

function blockFor(ms: number): void {
  const until = monotonicMs() + ms;
  while (monotonicMs() < until);
}
