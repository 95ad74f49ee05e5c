import { describe, expect, it } from "vitest";
import { setAppend } from "./set-append.ts";

const DURATION_MS = 20_000;

describe("jobs appended under faults", () => {
  it("are there once and end exactly once, whatever dies or stops meanwhile", async () => {
    const lines: string[] = [];
    const verdict = await setAppend.run({
      durationMs: DURATION_MS,
      seed: 1,
      progress: (text) => lines.push(text),
    });
    expect(verdict.problems, lines.join("\n")).toEqual([]);
    expect(verdict.counts["acknowledged"]).toBeGreaterThan(0);
  }, 300_000);
});
