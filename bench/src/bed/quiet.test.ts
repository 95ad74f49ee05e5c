import { describe, expect, it } from "vitest";
import { monotonicMs } from "../machine-clock.ts";
import { untilQuiet } from "./quiet.ts";

describe("untilQuiet", () => {
  it("ends when nothing is used any more", async () => {
    const busyMs = monotonicMs() + 30;
    // One core until then, nothing afterwards.
    const cpuSeconds = async () => Math.min(monotonicMs(), busyMs) / 1_000;
    expect(await untilQuiet({ cpuSeconds, timeoutMs: 20_000, pollMs: 5 })).toBe("quiet");
    expect(monotonicMs()).toBeGreaterThanOrEqual(busyMs);
  });

  it("gives up on noise that does not end, and where nobody can say", async () => {
    const busy = { cpuSeconds: async () => monotonicMs() / 1_000, timeoutMs: 30, pollMs: 5 };
    expect(await untilQuiet(busy)).toBe("gave up");
    const blind = { cpuSeconds: async () => undefined, timeoutMs: 30, pollMs: 5 };
    expect(await untilQuiet(blind)).toBe("gave up");
  });
});
