import { describe, expect, it } from "vitest";
import { ChangeTails } from "../domain/state/change-tail.ts";
import { FakeBucket, putOp } from "../domain/state/state.fake.ts";
import type { StateEvents } from "../domain/state/state-ports.ts";
import { createStatePoll } from "./state-poll.ts";

function setUp() {
  const fake = new FakeBucket("lww");
  const tails = new ChangeTails(() => undefined);
  const hold = tails.open(1n, fake.bucket.revision);
  const clock = { nowMs: 0, isTold: true, asked: 0, away: false };
  const reads = {
    ...fake.reads,
    moved: async () => {
      clock.asked += 1;
      if (clock.away) throw new Error("away");
      return { moved: [1n], gone: [] };
    },
  };
  const events = { statePollFailed: () => undefined } as unknown as StateEvents;
  const poll = createStatePoll({
    tails,
    reads,
    events,
    nowMs: () => clock.nowMs,
    isTold: () => clock.isTold,
    askMs: 500,
    aliveMs: 4_000,
  });
  const step = () => poll.step(new AbortController().signal);
  return { fake, hold, clock, poll, step };
}

describe("the poll of other replicas' changes", () => {
  it("asks at once when it heard something, and else now and then", async () => {
    const { fake, hold, clock, poll, step } = setUp();
    await step();
    fake.commit([putOp("k", "v")]);
    await step();
    expect([clock.asked, hold.read(1n, 10).kind]).toEqual([1, "nothing"]);
    poll.hear();
    await step();
    expect(hold.read(1n, 10)).toMatchObject({ kind: "changes", revision: 2n });
    await step();
    clock.nowMs = 500;
    await step();
    expect(clock.asked).toBe(3);
  });

  it("asks all the time while nobody tells, and again after a failure", async () => {
    const { clock, step } = setUp();
    clock.isTold = false;
    await step();
    await step();
    expect(clock.asked).toBe(2);
    clock.isTold = true;
    clock.nowMs = 500;
    clock.away = true;
    await expect(step()).rejects.toThrow("away");
    clock.away = false;
    await step();
    expect(clock.asked).toBe(4);
  });

  it("wakes watchers that have nothing to read, for their sign of life", async () => {
    const { hold, clock, step } = setUp();
    const woken = hold.wait();
    clock.nowMs = 4_000;
    await step();
    await woken;
    expect(clock.asked).toBe(1);
  });
});
