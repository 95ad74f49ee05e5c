import { describe, expect, it } from "vitest";
import { createManualClock } from "./clock.ts";
import { createIds } from "./ids.ts";

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
});
