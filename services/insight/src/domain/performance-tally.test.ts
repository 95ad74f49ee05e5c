import { describe, expect, it } from "vitest";
import { FAILURE_REASONS_MAX } from "./performance.ts";
import { OTHER_REASON, PerformanceTally, TALLY_REASONS_MAX } from "./performance-tally.ts";

const good = { kind: { success: true, reason: "" }, queueUs: 10, runUs: 1_000 };
const bad = { kind: { success: false, reason: "AGENT_ERROR" }, queueUs: 20, runUs: 5 };

function tallyOf(...attempts: readonly (typeof good)[]): PerformanceTally {
  const tally = new PerformanceTally();
  for (const attempt of attempts) tally.add(attempt);
  return tally;
}

describe("PerformanceTally", () => {
  it("counts all waits but only the run times of successes", () => {
    const { attempts, succeeded, failed, queueTime, runTime, failuresByReason } = tallyOf(
      good,
      good,
      bad,
    ).summary();
    expect([attempts, succeeded, failed]).toEqual([3, 2, 1]);
    expect([queueTime.count, queueTime.maxUs]).toEqual([3, 20]);
    expect([runTime.count, runTime.maxUs]).toEqual([2, 1_000]);
    expect([...failuresByReason]).toEqual([["AGENT_ERROR", 1]]);
  });

  it("leaves out what was not measured", () => {
    const tally = new PerformanceTally();
    tally.add({ kind: good.kind, queueUs: undefined, runUs: undefined });
    const { attempts, queueTime, runTime } = tally.summary();
    expect([attempts, queueTime.count, runTime.count]).toEqual([1, 0, 0]);
  });

  it("adds up", () => {
    const sum = tallyOf(good, bad);
    sum.merge(tallyOf(bad, { ...bad, kind: { success: false, reason: "AGENT_LOST" } }));
    const { attempts, succeeded, failuresByReason } = sum.summary();
    expect([attempts, succeeded]).toEqual([4, 1]);
    expect([...failuresByReason]).toEqual([
      ["AGENT_ERROR", 2],
      ["AGENT_LOST", 1],
    ]);
  });

  it("lists the most frequent reasons", () => {
    const tally = new PerformanceTally();
    for (let n = 0; n < 40; n++) tally.addFailures(`REASON_${n}`, n + 1);
    const { failuresByReason } = tally.summary();
    expect(failuresByReason.size).toBe(FAILURE_REASONS_MAX);
    expect([...failuresByReason][0]).toEqual(["REASON_39", 40]);
    expect(failuresByReason.has("REASON_7")).toBe(false);
  });

  it("does not grow with the reasons that agents invent", () => {
    const tally = new PerformanceTally();
    for (let n = 0; n < 10_000; n++) tally.addFailures(`INVENTED_${n}`, 1);
    expect(tally.failures.size).toBe(TALLY_REASONS_MAX);
    expect(tally.failures.get(OTHER_REASON)).toBe(10_000 - TALLY_REASONS_MAX + 1);
  });
});
