import { createManualClock, type NexusError } from "@nexus/shared";
import { describe, expect, it } from "vitest";
import { createRateLimiter } from "./rate-limiter.ts";

function limiter(perSecond: number) {
  const clock = createManualClock(1_000_000);
  return { clock, limiter: createRateLimiter(() => perSecond, clock) };
}

function refusal(act: () => void): NexusError | undefined {
  try {
    act();
    return undefined;
  } catch (error) {
    return error as NexusError;
  }
}

describe("createRateLimiter", () => {
  it("lets a burst of one second's calls through and refuses the next with a wait", () => {
    const { limiter: limit } = limiter(10);
    for (let call = 0; call < 10; call += 1) limit.take("a");
    const error = refusal(() => limit.take("a"));
    expect(error).toMatchObject({ kind: "exhausted", reason: "RATE_LIMITED" });
    expect(error?.details.retryAfterMs).toBe(100);
  });

  it("lets a caller through again after the wait", () => {
    const { clock, limiter: limit } = limiter(10);
    for (let call = 0; call < 10; call += 1) limit.take("a");
    clock.advance(100);
    limit.take("a");
    expect(refusal(() => limit.take("a"))?.reason).toBe("RATE_LIMITED");
  });

  it("counts every caller apart", () => {
    const { limiter: limit } = limiter(1);
    limit.take("a");
    limit.take("b");
    expect(refusal(() => limit.take("a"))?.reason).toBe("RATE_LIMITED");
  });

  it("never saves up more than one second's calls", () => {
    const { clock, limiter: limit } = limiter(5);
    clock.advance(3_600_000);
    for (let call = 0; call < 5; call += 1) limit.take("a");
    expect(refusal(() => limit.take("a"))?.reason).toBe("RATE_LIMITED");
  });

  it("survives a clock that goes back", () => {
    const { clock, limiter: limit } = limiter(2);
    limit.take("a");
    clock.advance(-10_000);
    limit.take("a");
    expect(refusal(() => limit.take("a"))?.reason).toBe("RATE_LIMITED");
  });
});
