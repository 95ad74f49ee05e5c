import { describe, expect, it } from "vitest";
import { NexusError } from "./nexus-error.ts";
import { backoffDelayMs, sleep, withDeadline } from "./timing.ts";
import { KiB, MiB } from "./units.ts";

const POLICY = { initialMs: 100, multiplier: 2, maxMs: 1000, jitter: 0 };

describe("backoffDelayMs", () => {
  it("grows from the initial delay by the multiplier up to the maximum", () => {
    const delays = [1, 2, 3, 4, 5, 6, 1000].map((attempt) => backoffDelayMs(attempt, POLICY));
    expect(delays).toEqual([100, 200, 400, 800, 1000, 1000, 1000]);
  });

  it("treats attempts below 1 as the first", () => {
    expect([0, -3].map((attempt) => backoffDelayMs(attempt, POLICY))).toEqual([100, 100]);
  });

  it("shortens by at most the jitter's share", () => {
    const jittered = { ...POLICY, jitter: 0.25 };
    expect(backoffDelayMs(2, jittered, () => 0)).toBe(200);
    expect(backoffDelayMs(2, jittered, () => 1)).toBe(150);
    expect(backoffDelayMs(1, { ...POLICY, jitter: 1 }, () => 1)).toBe(0);
  });
});

describe("sleep", () => {
  it("resolves after the time", async () => {
    const startedAtMs = performance.now();
    await sleep(20);
    expect(performance.now() - startedAtMs).toBeGreaterThan(18);
  });

  it("rejects as cancelled when the signal aborts before or during the wait", async () => {
    const aborted = await sleep(60_000, AbortSignal.abort()).catch((error: unknown) => error);
    expect(NexusError.is(aborted, "cancelled", "CANCELLED")).toBe(true);
    const controller = new AbortController();
    const waiting = sleep(60_000, controller.signal);
    controller.abort();
    await expect(waiting).rejects.toThrow(NexusError);
  });

  it("rejects with the signal's reason when that is a NexusError", async () => {
    const reason = new NexusError({ kind: "deadline", reason: "DEADLINE_EXCEEDED", message: "x" });
    await expect(sleep(60_000, AbortSignal.abort(reason))).rejects.toBe(reason);
  });
});

describe("withDeadline", () => {
  it("settles as the promise does when that is in time", async () => {
    expect(await withDeadline(Promise.resolve(7), 60_000)).toBe(7);
    const failure = new Error("mine");
    await expect(withDeadline(Promise.reject(failure), 60_000)).rejects.toBe(failure);
  });

  it("rejects after the time, as deadline by default or with the error that is made", async () => {
    const never = new Promise<never>(() => {});
    const late = await withDeadline(never, 5).catch((error: unknown) => error);
    expect(NexusError.is(late, "deadline", "DEADLINE_EXCEEDED")).toBe(true);
    await expect(withDeadline(never, 5, () => new Error("made"))).rejects.toThrow("made");
  });

  it("does not leak the rejection of a promise that fails after its deadline", async () => {
    const slow = sleep(15).then(() => {
      throw new Error("too late");
    });
    await expect(withDeadline(slow, 1)).rejects.toThrow(NexusError);
    await sleep(25);
  });
});

describe("units", () => {
  it("are powers of 1024", () => {
    expect([KiB, MiB]).toEqual([1_024, 1_048_576]);
  });
});
