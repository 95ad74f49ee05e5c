import { describe, expect, it } from "vitest";
import { BatchQueue, type BatchQueueOptions } from "./batch-queue.ts";

/** A queue whose flushes end when the test says so. */
function setUp(overrides: Partial<BatchQueueOptions<number>> = {}) {
  const flushes: { items: number[]; end(): void; fail(): void }[] = [];
  const queue = new BatchQueue<number>({
    name: "test",
    maxItems: 2,
    maxDelayMs: 0,
    maxQueued: 4,
    flush: (items) =>
      new Promise((resolve, reject) => {
        flushes.push({ items, end: resolve, fail: () => reject(new Error("broken")) });
      }),
    ...overrides,
  });
  return { queue, flushes };
}

describe("BatchQueue", () => {
  it("flushes what was left over as soon as the batch before it is over", async () => {
    const { queue, flushes } = setUp({ maxDelayMs: 60_000 });
    for (const item of [1, 2, 3, 4, 5]) queue.push(item);
    expect(flushes.map(({ items }) => items)).toEqual([[1, 2]]);
    flushes[0]?.end();
    await new Promise(setImmediate);
    flushes[1]?.end();
    await new Promise(setImmediate);
    expect(flushes.map(({ items }) => items)).toEqual([[1, 2], [3, 4], [5]]);
  });

  it("goes on behind a flush that failed", async () => {
    const { queue, flushes } = setUp();
    queue.push(1);
    queue.push(2);
    queue.push(3);
    flushes[0]?.fail();
    await new Promise(setImmediate);
    expect(flushes.at(-1)?.items).toEqual([3]);
  });

  it("throws for what it does not take", async () => {
    const { queue, flushes } = setUp();
    for (const item of [1, 2, 3, 4, 5, 6]) queue.push(item);
    expect(() => queue.push(7)).toThrow("holds its limit of 4 items");
    const closed = queue.close();
    expect(() => queue.push(7)).toThrow("closed");
    for (let batch = 0; batch < 3; batch += 1) {
      flushes[batch]?.end();
      await new Promise(setImmediate);
    }
    await closed;
    expect(flushes.flatMap(({ items }) => items)).toEqual([1, 2, 3, 4, 5, 6]);
  });
});
