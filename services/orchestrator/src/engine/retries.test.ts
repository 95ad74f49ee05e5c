import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { Lane } from "./lane.ts";
import type { EngineParts } from "./parts.ts";
import { Retries, retriesFor } from "./retries.ts";

beforeEach(() => vi.useFakeTimers());
afterEach(() => vi.useRealTimers());

/** Lanes in which so many classes are set aside and so many agents are open, and what was tried in them. */
function setUp(lanes: Readonly<Record<string, { aside: number; open: number }>>) {
  const tried: [string, number][] = [];
  const lane = (key: string) => ({
    key,
    aside: lanes[key]?.aside ?? 0,
    reopenSome: (count: number) => tried.push([key, count]),
  });
  const parts = {
    queue: { lane },
    fleet: { countOpen: (key: string) => lanes[key]?.open ?? 0 },
  };
  const retries = new Retries(parts as unknown as EngineParts, () => undefined);
  return {
    tried,
    add: (key: string) => retries.add(lane(key) as unknown as Lane),
  };
}

describe("Retries", () => {
  it("tries 256 classes a step at most, and fewer the more agents each search may look at", () => {
    const most = { classes: 256, looks: 8_192 };
    const tries = [1, 32, 64, 1_000, 5_000, 20_000].map((open) => retriesFor(open, most));
    expect(tries).toEqual([256, 256, 128, 8, 1, 1]);
    expect(retriesFor(20_000, { classes: 256, looks: 262_144 })).toBe(13);
  });

  it("tries all that are set aside, one lane a step, those of a large fleet one class at a time", () => {
    const t = setUp({ large: { aside: 3, open: 5_000 }, small: { aside: 300, open: 10 } });
    t.add("large");
    t.add("small");
    vi.runAllTimers();
    expect(t.tried).toEqual([
      ["large", 1],
      ["small", 256],
      ["large", 1],
      ["small", 44],
      ["large", 1],
    ]);
  });

  it("leaves a lane in which nobody is open any more", () => {
    const t = setUp({ closed: { aside: 5, open: 0 }, open: { aside: 5, open: 1 } });
    t.add("closed");
    t.add("open");
    vi.runAllTimers();
    expect(t.tried).toEqual([["open", 5]]);
  });
});
