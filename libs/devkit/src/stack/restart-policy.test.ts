import { describe, expect, it } from "vitest";
import { createRestartPolicy, DEATHS_MAX } from "./restart-policy.ts";

describe("createRestartPolicy", () => {
  it("waits longer each time a process dies young, up to five seconds", () => {
    const policy = createRestartPolicy();
    const delays = Array.from({ length: 8 }, (_unused, index) =>
      policy.delayAfterDeath({ startedAtMs: index * 6_000, diedAtMs: index * 6_000 + 10 }),
    );
    expect(delays).toEqual([100, 200, 400, 800, 1600, 3200, 5000, 5000]);
  });

  it("starts over after a healthy life", () => {
    const policy = createRestartPolicy();
    policy.delayAfterDeath({ startedAtMs: 0, diedAtMs: 10 });
    policy.delayAfterDeath({ startedAtMs: 20, diedAtMs: 30 });
    expect(policy.delayAfterDeath({ startedAtMs: 100, diedAtMs: 20_000 })).toBe(100);
  });

  it("gives up after too many deaths in a minute, but not when they are spread out", () => {
    const fast = createRestartPolicy();
    const slow = createRestartPolicy();
    for (let death = 0; death < DEATHS_MAX; death += 1) {
      expect(fast.delayAfterDeath({ startedAtMs: death, diedAtMs: death })).toBeDefined();
      slow.delayAfterDeath({ startedAtMs: 0, diedAtMs: death * 10_000 });
    }
    expect(fast.delayAfterDeath({ startedAtMs: 20, diedAtMs: 21 })).toBeUndefined();
    expect(slow.delayAfterDeath({ startedAtMs: 0, diedAtMs: DEATHS_MAX * 10_000 })).toBeDefined();
  });
});
