import { getHeapSpaceStatistics, setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { describe, expect, it } from "vitest";
import { PassingMap } from "./passing-map.ts";

setFlagsFromString("--expose-gc");
const collect = runInNewContext("gc") as (how?: { readonly type: "minor" }) => void;

/** Bytes that outlive small collections while so many entries pass through a map of a certain age. */
function keptBytes(map: Map<number, object> | PassingMap<number, object>): number {
  collect();
  collect();
  const before = oldBytes();
  for (let first = 0; first < 100_000; first += 100) {
    for (let key = first; key < first + 100; key += 1) map.set(key, { key, more: [key] });
    for (let key = first; key < first + 100; key += 1) map.delete(key);
    if (first % 1_000 === 0) collect({ type: "minor" });
  }
  return oldBytes() - before;
}

function oldBytes(): number {
  const spaces = getHeapSpaceStatistics().filter(({ space_name: name }) => name === "old_space");
  return spaces.reduce((sum, { space_used_size: bytes }) => sum + bytes, 0);
}

describe("PassingMap", () => {
  it("is a map, however much passed through it", () => {
    const map = new PassingMap<number, string>();
    map.set(-1, "stays").set(-2, "is forgotten");
    for (let key = 0; key < 5_000; key += 1) {
      map.set(key, `${key}`);
      if (key >= 3) expect(map.delete(key - 3)).toBe(true);
    }
    expect([map.delete(-2), map.delete(-2), map.has(-2), map.get(-2)]).toEqual([
      true,
      false,
      false,
      undefined,
    ]);
    expect([map.size, map.has(-1), map.get(-1)]).toEqual([4, true, "stays"]);
    expect(map.keys()).toEqual([-1, 4_997, 4_998, 4_999]);
    expect(map.values()).toEqual(["stays", "4997", "4998", "4999"]);
    expect(map.set(-1, "is another").entries()[0]).toEqual([-1, "is another"]);
    map.clear();
    expect([map.size, map.entries()]).toEqual([0, []]);
  });

  it("shows what it held when it was asked, though entries go meanwhile", () => {
    const map = new PassingMap<number, number>();
    for (let key = 0; key < 1_000; key += 1) map.set(key, key);
    const seen: number[] = [];
    for (const key of map.keys()) {
      seen.push(key);
      map.delete(key);
    }
    expect([seen.length, map.size]).toEqual([1_000, 0]);
  });

  it("stays where it is while it is large, and is a map all the same", () => {
    const map = new PassingMap<number, number>();
    for (let key = 0; key < 60_000; key += 1) map.set(key, key);
    for (let key = 0; key < 41_000; key += 1) map.delete(key);
    expect([map.size, map.keys()[0], map.get(59_999)]).toEqual([19_000, 41_000, 59_999]);
    for (let key = 41_000; key < 60_000; key += 1) map.delete(key);
    expect([map.size, map.keys()]).toEqual([0, []]);
  });

  it("keeps nothing of what passed, where a Map keeps it until the whole heap is collected", () => {
    const kept = keptBytes(new PassingMap<number, object>());
    expect(kept).toBeLessThan(keptBytes(new Map<number, object>()) / 4);
  });
});
