import { describe, expect, it } from "vitest";
import { Heap } from "./heap.ts";

/** A small generator with a fixed seed, so that a failure can be repeated. */
function numbers(count: number): number[] {
  let state = 42;
  return Array.from({ length: count }, () => {
    state = (state * 1_103_515_245 + 12_345) % 2_147_483_648;
    return state % 1_000;
  });
}

function drain(heap: Heap<number>): number[] {
  const out: number[] = [];
  for (let item = heap.pop(); item !== undefined; item = heap.pop()) out.push(item);
  return out;
}

describe("Heap", () => {
  it("gives items back in order, duplicates included", () => {
    const heap = new Heap<number>((a, b) => a < b);
    const items = numbers(500);
    for (const item of items) heap.push(item);
    expect(heap.size).toBe(500);
    expect(heap.peek()).toBe(Math.min(...items));
    expect(drain(heap)).toEqual([...items].sort((a, b) => a - b));
    expect(heap.pop()).toBeUndefined();
  });

  it("keeps order while pushes and pops mix", () => {
    const heap = new Heap<number>((a, b) => a < b);
    const model: number[] = [];
    for (const [i, item] of numbers(500).entries()) {
      heap.push(item);
      model.push(item);
      if (i % 3 !== 0) continue;
      model.sort((a, b) => a - b);
      expect(heap.pop()).toBe(model.shift());
    }
  });

  it("puts an item in the place of the next one, in order", () => {
    const heap = new Heap<number>((a, b) => a < b);
    const model = numbers(50);
    for (const item of model) heap.push(item);
    for (const item of numbers(200)) {
      model.sort((a, b) => a - b)[0] = item;
      heap.replaceFirst(item);
      expect(heap.peek()).toBe(Math.min(...model));
    }
    expect(drain(heap)).toEqual(model.sort((a, b) => a - b));
  });

  it("keeps what passes a filter, in order", () => {
    const heap = new Heap<number>((a, b) => a < b);
    const items = numbers(100);
    for (const item of items) heap.push(item);
    heap.filter((item) => item % 2 === 0);
    const even = items.filter((item) => item % 2 === 0).sort((a, b) => a - b);
    expect(drain(heap)).toEqual(even);
  });
});
