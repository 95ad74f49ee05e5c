import { describe, expect, it } from "vitest";
import { backlogSlope } from "./assignment.ts";

/** Ten tasks a second for ten seconds, each open for a while. */
function tasks(openMs: (index: number) => number) {
  return Array.from({ length: 100 }, (_, index) => ({
    createdAtMs: index * 100,
    endedAtMs: index * 100 + openMs(index),
  }));
}

describe("backlogSlope", () => {
  it("is zero when tasks end as fast as they come", () => {
    expect(backlogSlope(tasks(() => 50))).toBe(0);
    expect(backlogSlope(tasks(() => 500))).toBe(0);
  });

  it("grows when every task waits longer than the one before", () => {
    expect(backlogSlope(tasks((index) => index * 100 + 50))).toBeGreaterThan(3);
  });

  it("is negative when a backlog is worked off", () => {
    expect(backlogSlope(tasks((index) => 950 - index * 9))).toBeLessThan(0);
  });

  it("is zero for tasks that were all created at once", () => {
    const one = { createdAtMs: 1, endedAtMs: 2 };
    expect(backlogSlope([one, one])).toBe(0);
  });
});
