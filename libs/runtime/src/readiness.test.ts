import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { createReadinessChecks } from "./readiness.ts";

describe("createReadinessChecks", () => {
  beforeEach(() => {
    vi.useFakeTimers();
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  it("is ready without checks", async () => {
    expect(await createReadinessChecks().evaluate()).toEqual({ ready: true, checks: {} });
  });

  it("is ready when every check resolves or returns", async () => {
    const checks = createReadinessChecks();
    checks.add("a", () => Promise.resolve());
    checks.add("b", () => "anything");
    expect(await checks.evaluate()).toEqual({ ready: true, checks: { a: "ok", b: "ok" } });
  });

  it("names each failed check with its reason, shortened", async () => {
    const checks = createReadinessChecks();
    checks.add("good", () => undefined);
    checks.add("throws", () => {
      throw new Error("down");
    });
    checks.add("rejects", () => Promise.reject(new Error("x".repeat(1_000))));
    const refused = Object.assign(new Error("x"), { message: "", code: "ECONNREFUSED" });
    checks.add("silent", () => Promise.reject(refused));
    const state = await checks.evaluate();
    expect(state.ready).toBe(false);
    expect(state.checks).toEqual({
      good: "ok",
      throws: "down",
      rejects: "x".repeat(200),
      silent: "ECONNREFUSED",
    });
  });

  it("names a slow check and waits for no other because of it", async () => {
    const checks = createReadinessChecks();
    checks.add("slow", () => new Promise(() => {}));
    checks.add("fast", () => undefined);
    const state = checks.evaluate();
    await vi.advanceTimersByTimeAsync(1_500);
    expect((await state).checks).toEqual({ slow: "no answer within 1500 ms", fast: "ok" });
  });

  it("refuses a second check of the same name", () => {
    const checks = createReadinessChecks();
    checks.add("a", () => undefined);
    expect(() => checks.add("a", () => undefined)).toThrow("exists");
  });
});
