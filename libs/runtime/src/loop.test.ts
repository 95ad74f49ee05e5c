import { createSilentLogger } from "@nexus/shared";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { createLoop, type LoopOptions } from "./loop.ts";
import { Ticks } from "./ticks.ts";

interface Step {
  readonly signal: AbortSignal;
  end(): void;
  fail(): void;
}

/** A loop whose steps end when the test says so, and whose ticks are counted from now on. */
function setUp(overrides: Partial<LoopOptions> = {}) {
  const steps: Step[] = [];
  const options: LoopOptions = {
    name: "test",
    intervalMs: 1_000,
    logger: createSilentLogger(),
    step: (signal) =>
      new Promise<void>((resolve, reject) => {
        steps.push({ signal, end: resolve, fail: () => reject(new Error("broken step")) });
      }),
    ...overrides,
  };
  const loop = createLoop(options, new Ticks(-performance.now()));
  /** Ends the newest step and lets the loop notice. */
  const finish = async (how: "end" | "fail" = "end") => {
    steps.at(-1)?.[how]();
    await vi.advanceTimersByTimeAsync(0);
  };
  return { loop, steps, finish };
}

describe("createLoop", () => {
  beforeEach(() => {
    vi.useFakeTimers();
  });
  afterEach(() => {
    vi.restoreAllMocks();
    vi.useRealTimers();
  });

  it("runs the first step at start, and nothing before", async () => {
    const { loop, steps } = setUp();
    loop.trigger();
    await vi.advanceTimersByTimeAsync(5_000);
    expect(steps).toHaveLength(0);
    loop.start();
    loop.start();
    expect(steps).toHaveLength(1);
  });

  it("runs a step each interval while steps are short", async () => {
    const { loop, steps, finish } = setUp();
    loop.start();
    await vi.advanceTimersByTimeAsync(400);
    await finish();
    await vi.advanceTimersByTimeAsync(599);
    expect(steps).toHaveLength(1);
    await vi.advanceTimersByTimeAsync(1);
    expect(steps).toHaveLength(2);
  });

  it("pauses for the whole interval after a step that takes more than half of it", async () => {
    const { loop, steps, finish } = setUp();
    loop.start();
    await vi.advanceTimersByTimeAsync(5_600);
    expect(steps).toHaveLength(1);
    await finish();
    await vi.advanceTimersByTimeAsync(999);
    expect(steps).toHaveLength(1);
    await vi.advanceTimersByTimeAsync(1);
    expect(steps).toHaveLength(2);
  });

  it("skips the pause when triggered", async () => {
    const { loop, steps, finish } = setUp();
    loop.start();
    await finish();
    loop.trigger();
    expect(steps).toHaveLength(2);
    await vi.advanceTimersByTimeAsync(5_000);
    expect(steps).toHaveLength(2);
  });

  it("runs once more after a step that was running when triggered, however often", async () => {
    const { loop, steps, finish } = setUp();
    loop.start();
    for (let i = 0; i < 5; i++) loop.trigger();
    expect(steps).toHaveLength(1);
    await finish();
    expect(steps).toHaveLength(2);
    await finish();
    expect(steps).toHaveLength(2);
  });

  it("goes on after failures with a growing pause that a trigger does not shorten", async () => {
    vi.spyOn(Math, "random").mockReturnValue(0);
    const { loop, steps, finish } = setUp();
    loop.start();
    const pausesMs: number[] = [];
    for (let i = 0; i < 7; i++) {
      const count = steps.length;
      await finish("fail");
      loop.trigger();
      expect(steps).toHaveLength(count);
      let waitedMs = 0;
      while (steps.length === count) {
        await vi.advanceTimersByTimeAsync(500);
        waitedMs += 500;
      }
      pausesMs.push(waitedMs);
    }
    expect(pausesMs).toEqual([1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]);
    await finish();
    await vi.advanceTimersByTimeAsync(1_000);
    expect(steps).toHaveLength(9);
  });

  it("rests no longer than was asked, however often that is said", async () => {
    const { loop, steps, finish } = setUp();
    loop.soon(20);
    loop.start();
    await vi.advanceTimersByTimeAsync(5);
    await finish();
    for (let i = 0; i < 3; i++) loop.soon(20);
    await vi.advanceTimersByTimeAsync(14);
    expect(steps).toHaveLength(1);
    await vi.advanceTimersByTimeAsync(1);
    expect(steps).toHaveLength(2);
    await finish();
    await vi.advanceTimersByTimeAsync(979);
    expect(steps).toHaveLength(2);
    await vi.advanceTimersByTimeAsync(1);
    expect(steps).toHaveLength(3);
  });

  it("rests no longer than was asked while the step ran", async () => {
    const { loop, steps, finish } = setUp();
    loop.start();
    loop.soon(20);
    await finish();
    await vi.advanceTimersByTimeAsync(20);
    expect(steps).toHaveLength(2);
  });

  it("is not hurried during the pause that follows a failure", async () => {
    vi.spyOn(Math, "random").mockReturnValue(0);
    const { loop, steps, finish } = setUp();
    loop.start();
    await finish("fail");
    loop.soon(20);
    await vi.advanceTimersByTimeAsync(999);
    expect(steps).toHaveLength(1);
    await vi.advanceTimersByTimeAsync(1);
    expect(steps).toHaveLength(2);
  });

  it("comes back from a failure as fast as it is told to", async () => {
    vi.spyOn(Math, "random").mockReturnValue(0);
    const { loop, steps, finish } = setUp({ retryMs: 200 });
    loop.start();
    await finish("fail");
    await vi.advanceTimersByTimeAsync(200);
    await finish("fail");
    await vi.advanceTimersByTimeAsync(399);
    expect(steps).toHaveLength(2);
    await vi.advanceTimersByTimeAsync(1);
    expect(steps).toHaveLength(3);
  });

  it("stops: ends the pause, aborts a running step and waits for it", async () => {
    const { loop, steps, finish } = setUp();
    loop.start();
    let stopped = false;
    const stopping = loop.stop().then(() => {
      stopped = true;
    });
    await vi.advanceTimersByTimeAsync(0);
    expect([steps[0]?.signal.aborted, stopped]).toEqual([true, false]);
    await finish("fail");
    await stopping;
    loop.trigger();
    loop.start();
    await vi.advanceTimersByTimeAsync(60_000);
    expect(steps).toHaveLength(1);
    expect(vi.getTimerCount()).toBe(0);
  });

  it("stops between steps, before its start and twice", async () => {
    const between = setUp();
    between.loop.start();
    await between.finish();
    await Promise.all([between.loop.stop(), between.loop.stop()]);
    expect(vi.getTimerCount()).toBe(0);
    const before = setUp();
    await before.loop.stop();
    before.loop.start();
    expect(before.steps).toHaveLength(0);
  });

  it("survives a step that throws at once", async () => {
    let calls = 0;
    const { loop } = setUp({
      step: () => {
        calls++;
        throw new Error("at once");
      },
    });
    loop.start();
    await vi.advanceTimersByTimeAsync(1_000);
    expect(calls).toBe(2);
    await loop.stop();
  });

  it("varies the pause after a failure, so that replicas do not come back together", async () => {
    const { loop, steps, finish } = setUp();
    vi.spyOn(Math, "random").mockReturnValue(1);
    loop.start();
    await finish("fail");
    await vi.advanceTimersByTimeAsync(900);
    expect(steps).toHaveLength(2);
  });
});
