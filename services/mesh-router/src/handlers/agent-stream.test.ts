import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { AgentStream } from "./agent-stream.ts";
import type { StateOps } from "./state/state-ops.ts";
import { TurnScheduler } from "./turn-scheduler.ts";

const LOST_AFTER_MS = 15_000;

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

function setUp() {
  const ops = { isBusy: false, hasAnswers: false, finish: () => undefined };
  let fails = 0;
  const stream = new AgentStream({
    turns: new TurnScheduler(),
    onFail: () => {
      fails += 1;
    },
    ops: ops as unknown as StateOps,
    lostAfterMs: LOST_AFTER_MS,
  });
  return { ops, stream, fails: () => fails };
}

describe("AgentStream", () => {
  it("is not over while an operation runs, and reads its agent until then", () => {
    const { ops, stream } = setUp();
    ops.isBusy = true;
    stream.finish();
    expect([stream.ending, stream.isOver]).toEqual([true, false]);
    ops.isBusy = false;
    expect(stream.isOver).toBe(true);
  });

  it("fails when its agent does not read the end of it", async () => {
    const { stream, fails } = setUp();
    stream.finish();
    await vi.advanceTimersByTimeAsync(LOST_AFTER_MS);
    expect(fails()).toBe(1);
    await expect(stream.next(() => undefined)).rejects.toMatchObject({
      reason: "SESSION_TOO_SLOW",
    });
  });

  it("leaves no timer behind when its call is over", async () => {
    const { stream, fails } = setUp();
    stream.finish();
    stream.close();
    await vi.advanceTimersByTimeAsync(LOST_AFTER_MS);
    expect(fails()).toBe(0);
  });
});
