import { describe, expect, it } from "vitest";
import type { Cache, CacheOptions } from "./cache.ts";
import { createManualClock } from "./clock.ts";
import { createFifoCache } from "./fifo-cache.ts";
import { createLfuCache } from "./lfu-cache.ts";
import { createLruCache } from "./lru-cache.ts";

type Make = (options: CacheOptions) => Cache<string, number>;

/** Runs reads and writes (`+a` sets, `a` gets) and tells which of the keys a to e are left. */
function left(make: Make, max: number, steps: string): string {
  const cache = make({ max });
  for (const step of steps.split(" ")) {
    if (step.startsWith("+")) cache.set(step.slice(1), 1);
    else cache.get(step);
  }
  return "abcde"
    .split("")
    .filter((key) => cache.has(key))
    .join("");
}

/** What every policy promises alike. */
function cacheContract(name: string, make: Make): void {
  describe(`${name} as a cache`, () => {
    it("returns what was set, and counts hits and misses", () => {
      const cache = make({ max: 2 });
      cache.set("a", 1);
      expect([cache.get("a"), cache.get("b")]).toEqual([1, undefined]);
      expect(cache.stats()).toEqual({
        hits: 1,
        misses: 1,
        evictions: 0,
        expirations: 0,
        size: 1,
        hitRate: 0.5,
      });
    });

    it("never holds more than max and counts each eviction", () => {
      const cache = make({ max: 3 });
      for (let i = 0; i < 100; i++) {
        cache.set(`key ${i}`, i);
        expect(cache.size).toBeLessThanOrEqual(3);
      }
      expect(cache.stats().evictions).toBe(97);
    });

    it("replaces a value without evicting or growing", () => {
      const cache = make({ max: 2 });
      cache.set("a", 1);
      cache.set("b", 1);
      cache.set("a", 2);
      expect([cache.get("a"), cache.get("b"), cache.size]).toEqual([2, 1, 2]);
      expect(cache.stats().evictions).toBe(0);
    });

    it("forgets an entry at the end of its time to live and counts the expiry, not an eviction", () => {
      const clock = createManualClock();
      const cache = make({ max: 2, ttlMs: 1000, clock });
      cache.set("a", 1);
      clock.advance(999);
      expect(cache.get("a")).toBe(1);
      clock.advance(1);
      expect(cache.has("a")).toBe(false);
      expect(cache.get("a")).toBeUndefined();
      expect(cache.stats()).toMatchObject({ expirations: 1, evictions: 0, size: 0 });
    });

    it("lets set() override the time to live, and start it anew", () => {
      const clock = createManualClock();
      const cache = make({ max: 2, ttlMs: 1000, clock });
      cache.set("short", 1, 10);
      cache.set("long", 1, 5000);
      clock.advance(10);
      expect([cache.has("short"), cache.has("long")]).toEqual([false, true]);
      clock.advance(1000);
      cache.set("long", 2);
      clock.advance(999);
      expect(cache.get("long")).toBe(2);
    });

    it("counts an expired entry that makes room as an expiry", () => {
      const clock = createManualClock();
      const cache = make({ max: 1, ttlMs: 10, clock });
      cache.set("a", 1);
      clock.advance(10);
      cache.set("b", 1);
      expect(cache.stats()).toMatchObject({ expirations: 1, evictions: 0, size: 1 });
    });

    it("looks with has() without counting", () => {
      const cache = make({ max: 1 });
      cache.set("a", 1);
      expect([cache.has("a"), cache.has("b")]).toEqual([true, false]);
      expect(cache.stats()).toMatchObject({ hits: 0, misses: 0, hitRate: 0 });
    });

    it("deletes one entry and clears all, and goes on afterwards", () => {
      const cache = make({ max: 2 });
      cache.set("a", 1);
      cache.set("b", 1);
      expect([cache.delete("a"), cache.delete("a"), cache.size]).toEqual([true, false, 1]);
      cache.clear();
      expect(cache.size).toBe(0);
      cache.set("c", 3);
      expect(cache.get("c")).toBe(3);
      expect(cache.stats().evictions).toBe(0);
    });

    it("keeps values that are false, 0, empty and undefined", () => {
      const cache = make({ max: 2 }) as unknown as Cache<string, unknown>;
      for (const value of [false, 0, "", undefined]) {
        cache.set("a", value);
        expect(cache.has("a")).toBe(true);
        expect(cache.get("a")).toBe(value);
      }
    });

    it("refuses a capacity that is no positive whole number", () => {
      for (const max of [0, -1, 1.5, Number.NaN, Number.POSITIVE_INFINITY]) {
        expect(() => make({ max })).toThrow(RangeError);
      }
    });
  });
}

cacheContract("createLruCache", createLruCache);
cacheContract("createLfuCache", createLfuCache);
cacheContract("createFifoCache", createFifoCache);

describe("createLruCache", () => {
  it("evicts what was not read or written for the longest time", () => {
    expect(left(createLruCache, 3, "+a +b +c a +d")).toBe("acd");
    expect(left(createLruCache, 3, "+a +b +c +a +d")).toBe("acd");
    expect(left(createLruCache, 3, "+a +b +c +d +e")).toBe("cde");
  });
});

describe("createFifoCache", () => {
  it("evicts what was added first, however often it was read or replaced", () => {
    expect(left(createFifoCache, 3, "+a +b +c a a +a +d")).toBe("bcd");
    expect(left(createFifoCache, 3, "+a +b +c +d +e")).toBe("cde");
  });
});

describe("createLfuCache", () => {
  it("evicts what was used least often", () => {
    expect(left(createLfuCache, 3, "+a +b +c a a b +d")).toBe("abd");
    expect(left(createLfuCache, 2, "+a a a +b +c +d")).toBe("ad");
  });

  it("evicts the least recently used among those used equally often", () => {
    expect(left(createLfuCache, 3, "+a +b +c +d")).toBe("bcd");
    expect(left(createLfuCache, 3, "+a +b +c a b c +d +e")).toBe("bce");
  });

  it("counts a replacing write as a use", () => {
    expect(left(createLfuCache, 2, "+a +b +a +c")).toBe("ac");
  });

  it("agrees with a plain model over a long random run", () => {
    const max = 8;
    const cache = createLfuCache<number, number>({ max });
    const model = new Map<number, { uses: number; touched: number }>();
    let state = 42;
    for (let step = 0; step < 20_000; step++) {
      state = (state * 1_103_515_245 + 12_345) % 2 ** 31;
      const key = state % 20;
      const entry = model.get(key);
      if (state % 3 === 0) {
        expect(cache.get(key) !== undefined).toBe(entry !== undefined);
      } else {
        if (entry === undefined && model.size === max) model.delete(coldest(model));
        cache.set(key, step);
      }
      if (entry !== undefined) model.set(key, { uses: entry.uses + 1, touched: step });
      else if (state % 3 !== 0) model.set(key, { uses: 1, touched: step });
    }
    expect([...model.keys()].filter((key) => !cache.has(key))).toEqual([]);
    expect(cache.size).toBe(model.size);
  });
});

function coldest(model: ReadonlyMap<number, { uses: number; touched: number }>): number {
  const ranked = [...model].sort(([, a], [, b]) => a.uses - b.uses || a.touched - b.touched);
  return ranked[0]?.[0] ?? -1;
}
