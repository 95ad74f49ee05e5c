import { describe, expect, it } from "vitest";
import { DEFAULT_RETRY, type StoredTaskSpec } from "../domain/task.ts";
import { readSpec, type StoredSpec, writeSpec } from "./spec-row.ts";

const PLAIN: StoredTaskSpec = {
  key: "a",
  capability: "x",
  versionRange: "",
  dependencies: [],
  requiredLabels: {},
  preferredLabels: {},
  priority: 0,
  retry: DEFAULT_RETRY,
  startToCloseMs: 300_000,
  scheduleToStartMs: 3_600_000,
};

function read(text: string): StoredTaskSpec {
  return readSpec(JSON.parse(text) as StoredSpec);
}

describe("a stored spec", () => {
  it("leaves out what most tasks say alike", () => {
    expect(JSON.parse(writeSpec(PLAIN))).toEqual({
      key: "a",
      capability: "x",
      startToCloseMs: 300_000,
      scheduleToStartMs: 3_600_000,
    });
    expect(read(writeSpec(PLAIN))).toEqual(PLAIN);
  });

  const differing: Partial<StoredTaskSpec>[] = [
    { versionRange: "^1.0.0" },
    { dependencies: [{ taskKey: "b", inputName: "" }] },
    { requiredLabels: { zone: "a" } },
    { preferredLabels: { zone: "a" } },
    { priority: -1 },
    { retry: { ...DEFAULT_RETRY, maxAttempts: 1 } },
    { retry: { ...DEFAULT_RETRY, initialDelayMs: 0 } },
    { retry: { ...DEFAULT_RETRY, multiplier: 1 } },
    { retry: { ...DEFAULT_RETRY, maxDelayMs: 1 } },
    { retry: { ...DEFAULT_RETRY, nonRetryableReasons: ["BROKEN"] } },
    { retry: { ...DEFAULT_RETRY, jitter: 0 } },
    { retry: { ...DEFAULT_RETRY, maxLosses: 5 } },
    {
      slotCost: 2,
      affinityKey: "k",
      feedsMap: true,
      mapItem: { of: "m", index: 3, itemName: "i" },
    },
  ];
  it.each(differing)("keeps %j", (parts) => {
    expect(read(writeSpec({ ...PLAIN, ...parts }))).toEqual({ ...PLAIN, ...parts });
  });

  it("of before says all by itself", () => {
    const whole = { ...PLAIN, priority: 3 };
    expect(read(JSON.stringify(whole))).toEqual(whole);
  });

  it("means the same whatever the defaults are at the time", () => {
    const text = '{"key":"a","capability":"x","startToCloseMs":1,"scheduleToStartMs":1}';
    expect(read(text).retry).toEqual({
      maxAttempts: 3,
      initialDelayMs: 1_000,
      multiplier: 2,
      maxDelayMs: 60_000,
      nonRetryableReasons: [],
    });
  });
});
