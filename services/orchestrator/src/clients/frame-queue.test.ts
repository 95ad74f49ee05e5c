import { describe, expect, it } from "vitest";
import { FrameQueue } from "./frame-queue.ts";

async function take<T>(queue: FrameQueue<T>, count: number): Promise<T[]> {
  const iterator = queue[Symbol.asyncIterator]();
  const taken: T[] = [];
  for (let i = 0; i < count; i += 1) {
    const step = await iterator.next();
    if (step.done === true) break;
    taken.push(step.value);
  }
  return taken;
}

describe("FrameQueue", () => {
  it("refuses a frame beyond its bytes, and takes it when others have left", async () => {
    const queue = new FrameQueue<string>({ frames: 10, bytes: 100 });
    expect(queue.push("a", 60)).toBe(true);
    expect(queue.push("b", 60)).toBe(false);
    expect(await take(queue, 1)).toEqual(["a"]);
    expect(queue.push("b", 60)).toBe(true);
  });

  it("refuses a frame beyond its number, without counting its bytes", async () => {
    const queue = new FrameQueue<string>({ frames: 1, bytes: 100 });
    expect(queue.push("a", 10)).toBe(true);
    for (let i = 0; i < 20; i += 1) expect(queue.push("b", 10)).toBe(false);
    expect(await take(queue, 1)).toEqual(["a"]);
    expect(queue.push("c", 90)).toBe(true);
  });

  it("gives what waits and then ends", async () => {
    const queue = new FrameQueue<string>({ frames: 10, bytes: 100 });
    queue.push("a", 1);
    queue.end();
    expect(queue.push("b", 1)).toBe(false);
    expect(await take(queue, 5)).toEqual(["a"]);
  });

  it("lets its consumer go while it waits", async () => {
    const queue = new FrameQueue<string>({ frames: 10, bytes: 100 });
    const iterator = queue[Symbol.asyncIterator]();
    const waiting = iterator.next();
    await iterator.return?.();
    expect(await waiting).toEqual({ done: true, value: undefined });
    expect(queue.closed).toBe(true);
  });
});
