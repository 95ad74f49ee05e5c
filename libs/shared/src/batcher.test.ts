import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { type BatcherOptions, createBatcher } from "./batcher.ts";
import { NexusError } from "./nexus-error.ts";

interface Flush {
  readonly items: number[];
  resolve(outputs?: readonly string[]): void;
  reject(error: unknown): void;
}

/** A batcher whose flushes end when the test says so. */
function setUp(overrides: Partial<BatcherOptions<number, string>> = {}) {
  const flushes: Flush[] = [];
  const batcher = createBatcher<number, string>({
    name: "test",
    maxItems: 3,
    maxDelayMs: 5,
    maxQueued: 100,
    flush: (items) =>
      new Promise((resolve, reject) => {
        const answer = (outputs = items.map((item) => `out ${item}`)) => resolve(outputs);
        flushes.push({ items, resolve: answer, reject });
      }),
    ...overrides,
  });
  return { batcher, flushes, batches: () => flushes.map((flush) => flush.items) };
}

/** Lets promise callbacks run without moving time. */
async function settle(): Promise<void> {
  await vi.advanceTimersByTimeAsync(0);
}

describe("createBatcher", () => {
  beforeEach(() => {
    vi.useFakeTimers();
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  it("flushes a full batch at once", () => {
    const { batcher, batches } = setUp();
    for (const item of [1, 2, 3]) void batcher.add(item);
    expect(batches()).toEqual([[1, 2, 3]]);
    expect(batcher.queued).toBe(0);
    expect(batcher.inFlight).toBe(1);
  });

  it("flushes a partial batch maxDelayMs after its first item", async () => {
    const { batcher, batches } = setUp();
    void batcher.add(1);
    await vi.advanceTimersByTimeAsync(3);
    void batcher.add(2);
    await vi.advanceTimersByTimeAsync(1);
    expect(batches()).toEqual([]);
    await vi.advanceTimersByTimeAsync(1);
    expect(batches()).toEqual([[1, 2]]);
  });

  it("flushes in the next turn of the event loop when maxDelayMs is 0", async () => {
    const { batcher, batches } = setUp({ maxDelayMs: 0 });
    void batcher.add(1);
    void batcher.add(2);
    expect(batches()).toEqual([]);
    await vi.advanceTimersByTimeAsync(0);
    expect(batches()).toEqual([[1, 2]]);
  });

  it("gives every item its own output", async () => {
    const { batcher, flushes } = setUp();
    const all = Promise.all([3, 1, 2].map((item) => batcher.add(item)));
    flushes[0]?.resolve();
    expect(await all).toEqual(["out 3", "out 1", "out 2"]);
  });

  it("fills the next batch while a flush runs, and flushes it when a slot is free", async () => {
    const { batcher, flushes, batches } = setUp();
    for (const item of [1, 2, 3, 4, 5, 6, 7]) void batcher.add(item);
    await vi.advanceTimersByTimeAsync(50);
    expect(batches()).toEqual([[1, 2, 3]]);
    expect(batcher.queued).toBe(4);
    flushes[0]?.resolve();
    await settle();
    expect(batches()).toEqual([
      [1, 2, 3],
      [4, 5, 6],
    ]);
    flushes[1]?.resolve();
    await settle();
    expect(batches()[2]).toEqual([7]);
  });

  it("keeps a young partial batch open after a flush ended, until its own delay is over", async () => {
    const { batcher, flushes, batches } = setUp();
    for (const item of [1, 2, 3]) void batcher.add(item);
    await vi.advanceTimersByTimeAsync(10);
    void batcher.add(4);
    flushes[0]?.resolve();
    await settle();
    expect(batches()).toEqual([[1, 2, 3]]);
    void batcher.add(5);
    await vi.advanceTimersByTimeAsync(5);
    expect(batches()[1]).toEqual([4, 5]);
  });

  it("runs at most `concurrency` flushes at the same time", async () => {
    const { batcher, flushes, batches } = setUp({ maxItems: 1, concurrency: 2 });
    for (const item of [1, 2, 3, 4]) void batcher.add(item);
    expect(batches()).toEqual([[1], [2]]);
    expect(batcher.inFlight).toBe(2);
    flushes[1]?.resolve();
    await settle();
    expect(batches()).toEqual([[1], [2], [3]]);
    expect(batcher.inFlight).toBe(2);
  });

  it("refuses items beyond maxQueued with a delay to wait, and takes them again later", async () => {
    const { batcher, flushes } = setUp({ maxItems: 2, maxQueued: 2 });
    const results = [1, 2, 3, 4].map((item) => batcher.add(item));
    expect(batcher.queued).toBe(2);
    const refused = await batcher.add(5).catch((error: unknown) => error);
    expect(NexusError.is(refused, "exhausted", "QUEUE_FULL")).toBe(true);
    expect((refused as NexusError).details.retryAfterMs).toBeGreaterThan(0);
    flushes[0]?.resolve();
    await settle();
    results.push(batcher.add(6));
    flushes[1]?.resolve();
    await vi.advanceTimersByTimeAsync(5);
    flushes[2]?.resolve();
    expect(await Promise.all(results)).toEqual(["out 1", "out 2", "out 3", "out 4", "out 6"]);
  });

  it("refuses limits with which a batch could never leave", () => {
    for (const wrong of [
      { maxItems: 0 },
      { maxQueued: 2 },
      { concurrency: 0 },
      { maxDelayMs: -1 },
    ]) {
      expect(() => setUp(wrong)).toThrow(RangeError);
    }
  });

  it("rejects only the items of a failed flush", async () => {
    const { batcher, flushes } = setUp({ maxItems: 2 });
    const results = Promise.allSettled([1, 2, 3, 4].map((item) => batcher.add(item)));
    const broken = new Error("broken");
    flushes[0]?.reject(broken);
    await settle();
    flushes[1]?.resolve();
    expect(await results).toEqual([
      { status: "rejected", reason: broken },
      { status: "rejected", reason: broken },
      { status: "fulfilled", value: "out 3" },
      { status: "fulfilled", value: "out 4" },
    ]);
  });

  it("rejects the batch when flush throws at once", async () => {
    const { batcher } = setUp({
      maxItems: 1,
      flush: () => {
        throw new Error("at once");
      },
    });
    await expect(batcher.add(1)).rejects.toThrow("at once");
    await expect(batcher.add(2)).rejects.toThrow("at once");
  });

  it("rejects the batch as internal when flush answers too few outputs", async () => {
    const { batcher, flushes } = setUp({ maxItems: 2 });
    const results = Promise.allSettled([batcher.add(1), batcher.add(2)]);
    flushes[0]?.resolve(["only one"]);
    for (const result of await results) {
      expect(result.status === "rejected" && NexusError.is(result.reason, "internal")).toBe(true);
    }
  });

  it("flushes what waits on close, without the delay, and resolves after the last flush", async () => {
    const { batcher, flushes, batches } = setUp();
    const results = Promise.all([1, 2, 3, 4].map((item) => batcher.add(item)));
    let closed = false;
    const closing = batcher.close().then(() => {
      closed = true;
    });
    flushes[0]?.resolve();
    await settle();
    expect(batches()).toEqual([[1, 2, 3], [4]]);
    expect(closed).toBe(false);
    flushes[1]?.resolve();
    await closing;
    expect(await results).toEqual(["out 1", "out 2", "out 3", "out 4"]);
  });

  it("refuses items after close, and closes at once when it is idle", async () => {
    const { batcher } = setUp();
    await batcher.close();
    await batcher.close();
    const refused = await batcher.add(1).catch((error: unknown) => error);
    expect(NexusError.is(refused, "unavailable", "CLOSED")).toBe(true);
  });

  it("leaves no timer behind once it is empty", async () => {
    const { batcher, flushes } = setUp();
    void batcher.add(1);
    for (const item of [2, 3]) void batcher.add(item);
    flushes[0]?.resolve();
    await settle();
    expect(vi.getTimerCount()).toBe(0);
  });

  it("keeps order and loses nothing under a random load", async () => {
    const seen: number[] = [];
    const { batcher } = setUp({
      maxItems: 7,
      maxQueued: 10_000,
      flush: async (items) => {
        await new Promise((resolve) => {
          setTimeout(resolve, items.length % 4);
        });
        seen.push(...items);
        return items.map((item) => `out ${item}`);
      },
    });
    const results: Promise<string>[] = [];
    for (let i = 0; i < 1000; i++) {
      results.push(batcher.add(i));
      if (i % 13 === 0) await vi.advanceTimersByTimeAsync(i % 9);
    }
    const closing = batcher.close();
    await vi.advanceTimersByTimeAsync(10_000);
    await closing;
    expect(seen).toEqual(Array.from({ length: 1000 }, (_, i) => i));
    expect(await Promise.all(results)).toEqual(seen.map((i) => `out ${i}`));
  });
});
