import { describe, expect, it } from "vitest";
import { createAsyncQueue } from "./async-queue.ts";

async function collect<T>(queue: AsyncIterable<T>): Promise<T[]> {
  const items: T[] = [];
  for await (const item of queue) items.push(item);
  return items;
}

describe("createAsyncQueue", () => {
  it("hands items over in order and then ends", async () => {
    const queue = createAsyncQueue<number>({ max: 10 });
    for (const item of [1, 2, 3]) expect(queue.push(item)).toBe(true);
    queue.end();
    expect(await collect(queue)).toEqual([1, 2, 3]);
  });

  it("refuses an item when it is full and takes one again after a read", async () => {
    const queue = createAsyncQueue<number>({ max: 2 });
    expect([queue.push(1), queue.push(2), queue.push(3)]).toEqual([true, true, false]);
    const reader = queue[Symbol.asyncIterator]();
    expect(await reader.next()).toEqual({ done: false, value: 1 });
    expect(queue.size).toBe(1);
    expect(queue.push(4)).toBe(true);
  });

  it("hands an item straight to a waiting consumer, whatever max is", async () => {
    const queue = createAsyncQueue<number>({ max: 1 });
    const reader = queue[Symbol.asyncIterator]();
    const waiting = [reader.next(), reader.next()];
    expect([queue.push(1), queue.push(2)]).toEqual([true, true]);
    expect(queue.size).toBe(0);
    expect((await Promise.all(waiting)).map((result) => result.value as number)).toEqual([1, 2]);
  });

  it("gives what is queued before the error of fail, throws it once, and has ended then", async () => {
    const queue = createAsyncQueue<number>({ max: 10 });
    queue.push(1);
    queue.fail(new Error("broken"));
    const reader = queue[Symbol.asyncIterator]();
    expect(await reader.next()).toEqual({ done: false, value: 1 });
    await expect(reader.next()).rejects.toThrow("broken");
    expect(await reader.next()).toEqual({ done: true, value: undefined });
  });

  it("rejects a waiting consumer on fail", async () => {
    const queue = createAsyncQueue<number>({ max: 10 });
    const reader = queue[Symbol.asyncIterator]();
    const waiting = reader.next();
    queue.fail(new Error("broken"));
    await expect(waiting).rejects.toThrow("broken");
    expect(queue.closed).toBe(true);
  });

  it("takes nothing after end, fail or a left loop, and keeps the first of them", async () => {
    const queue = createAsyncQueue<number>({ max: 10 });
    queue.push(1);
    queue.end();
    queue.fail(new Error("late"));
    expect(queue.push(2)).toBe(false);
    expect(await collect(queue)).toEqual([1]);
  });

  it("drops what is queued and tells the producer once when the consumer leaves its loop", async () => {
    let told = 0;
    const queue = createAsyncQueue<number>({ max: 10, onReturn: () => told++ });
    for (const item of [1, 2, 3]) queue.push(item);
    for await (const item of queue) {
      expect(item).toBe(1);
      break;
    }
    expect(queue.size).toBe(0);
    expect(queue.push(4)).toBe(false);
    await queue[Symbol.asyncIterator]().return?.();
    expect(told).toBe(1);
  });

  it("ends a waiting consumer on end", async () => {
    const queue = createAsyncQueue<number>({ max: 1 });
    const all = collect(queue);
    queue.end();
    expect(await all).toEqual([]);
  });

  it("keeps order over many items read in between", async () => {
    const queue = createAsyncQueue<number>({ max: 5_000 });
    const reader = queue[Symbol.asyncIterator]();
    const read: number[] = [];
    let written = 0;
    for (let round = 0; round < 50; round++) {
      for (let i = 0; i < 90; i++) queue.push(written++);
      for (let i = 0; i < 60; i++) read.push((await reader.next()).value as number);
    }
    queue.end();
    read.push(...(await collect(queue)));
    expect(read).toEqual(Array.from({ length: written }, (_, i) => i));
  });

  it("asks its room for what has to wait, and tells it of what no longer does", async () => {
    let bytes = 0;
    const room = {
      enter: (item: number) => {
        if (bytes + item > 10) return false;
        bytes += item;
        return true;
      },
      leave: (item: number) => {
        bytes -= item;
      },
    };
    const queue = createAsyncQueue<number>({ max: 10, room });
    const reader = queue[Symbol.asyncIterator]();
    const waiting = reader.next();
    expect(queue.push(100)).toBe(true);
    expect((await waiting).value).toBe(100);
    expect([queue.push(6), queue.push(5), queue.push(4)]).toEqual([true, false, true]);
    expect((await reader.next()).value).toBe(6);
    expect(bytes).toBe(4);
    await reader.return?.();
    expect(bytes).toBe(0);
  });
});
