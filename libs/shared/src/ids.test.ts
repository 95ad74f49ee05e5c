import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { describe, expect, it } from "vitest";
import { createManualClock } from "./clock.ts";
import { createIds } from "./ids.ts";

setFlagsFromString("--expose-gc");
const collect = runInNewContext("gc") as () => void;

const UUID_V7 = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;

describe("createIds", () => {
  it("makes UUIDs of version 7 and variant 10", () => {
    const ids = createIds();
    for (let i = 0; i < 1_000; i++) expect(ids.next()).toMatch(UUID_V7);
  });

  it("starts with the clock's milliseconds", () => {
    const atMs = 1_700_000_123_456;
    const id = createIds(createManualClock(atMs)).next();
    expect(Number.parseInt(id.replace("-", "").slice(0, 12), 16)).toBe(atMs);
  });

  it("has all its digits at the beginning of time, too", () => {
    const ids = createIds(createManualClock(0));
    expect([ids.next(), ids.next()]).toEqual([
      expect.stringMatching(UUID_V7),
      expect.stringMatching(UUID_V7),
    ]);
    expect(ids.next("job")).toHaveLength("job_".length + 32);
  });

  it("joins a prefix and the id without dashes", () => {
    expect(createIds().next("job")).toMatch(/^job_[0-9a-f]{12}7[0-9a-f]{3}[89ab][0-9a-f]{15}$/);
  });

  it("never repeats and always sorts in the order of making, also within one millisecond", () => {
    const ids = createIds(createManualClock());
    const made = Array.from({ length: 20_000 }, () => ids.next());
    expect(new Set(made).size).toBe(made.length);
    expect([...made].sort()).toEqual(made);
  });

  it("keeps the order when the clock steps back", () => {
    const clock = createManualClock();
    const ids = createIds(clock);
    const before = ids.next();
    clock.advance(-60_000);
    expect(ids.next() > before).toBe(true);
  });

  it("makes different ids in two sources at the same time", () => {
    const clock = createManualClock();
    expect(createIds(clock).next()).not.toBe(createIds(clock).next());
  });

  it.each([undefined, "job"])(
    "keeps nothing but itself in memory, with the prefix %s",
    (prefix) => {
      const ids = createIds();
      const kept = new Map<string, number>();
      collect();
      const before = process.memoryUsage().heapUsed;
      for (let i = 0; i < 256 * 1_000; i++) {
        const id = ids.next(prefix);
        if (i % 256 === 0) kept.set(id, i);
      }
      collect();
      expect((process.memoryUsage().heapUsed - before) / kept.size).toBeLessThan(2_000);
    },
  );
});
