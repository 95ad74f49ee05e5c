import { execFileSync } from "node:child_process";
import { describe, expect, it } from "vitest";
import { epochOffsetMs, monotonicMs } from "./machine-clock.ts";

describe("monotonicMs", () => {
  it("has one zero in all processes of the machine", () => {
    const before = monotonicMs();
    const program = "process.stdout.write(String(Number(process.hrtime.bigint()) / 1e6))";
    const inside = Number(execFileSync(process.execPath, ["-e", program], { encoding: "utf8" }));
    expect(inside).toBeGreaterThan(before);
    expect(inside).toBeLessThan(monotonicMs());
  });
});

describe("epochOffsetMs", () => {
  it("turns the monotonic clock into the time of day", () => {
    const offset = epochOffsetMs();
    const before = Date.now();
    const inside = monotonicMs() + offset;
    const after = Date.now();
    // Date.now() is cut to whole milliseconds, and a busy machine sees its ticks late.
    expect(inside).toBeGreaterThanOrEqual(before - 5);
    expect(inside).toBeLessThan(after + 1.5);
  });
});
