import { createSilentLogger, NexusError } from "@nexus/shared";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { retryUntilUp } from "./retry-until-up.ts";

const DOWN = new NexusError({ kind: "unavailable", reason: "UNAVAILABLE", message: "Down." });

function start(fn: () => Promise<string>, signal = new AbortController().signal) {
  return retryUntilUp({ what: "test", fn, signal, logger: createSilentLogger() });
}

describe("retryUntilUp", () => {
  beforeEach(() => {
    vi.useFakeTimers();
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  it("repeats while the dependency is unavailable, and returns its first answer", async () => {
    let calls = 0;
    const result = start(() => (++calls < 4 ? Promise.reject(DOWN) : Promise.resolve("up")));
    await vi.advanceTimersByTimeAsync(100 + 200 + 400);
    expect(await result).toBe("up");
    expect(calls).toBe(4);
  });

  it("never pauses longer than two seconds", async () => {
    let calls = 0;
    void start(() => {
      calls++;
      return Promise.reject(DOWN);
    });
    await vi.advanceTimersByTimeAsync(60_000);
    expect(calls).toBeGreaterThan(30);
  });

  it("passes every other error through at once", async () => {
    const wrong = new Error("wrong password");
    await expect(start(() => Promise.reject(wrong))).rejects.toBe(wrong);
  });

  it("repeats what its caller calls down", async () => {
    let calls = 0;
    const result = retryUntilUp({
      what: "test",
      fn: () => (++calls < 3 ? Promise.reject(new Error("odd")) : Promise.resolve("up")),
      signal: new AbortController().signal,
      logger: createSilentLogger(),
      isDown: (error) => error instanceof Error && error.message === "odd",
    });
    await vi.advanceTimersByTimeAsync(1_000);
    expect(await result).toBe("up");
  });

  it("ends as cancelled when the service shuts down", async () => {
    const controller = new AbortController();
    const result = start(() => Promise.reject(DOWN), controller.signal).catch(
      (error: unknown) => error,
    );
    await vi.advanceTimersByTimeAsync(10);
    controller.abort();
    expect(NexusError.is(await result, "cancelled")).toBe(true);
  });
});
