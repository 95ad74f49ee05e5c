import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { fakeReputation, NOW_MS } from "./agent.fake.ts";
import type { Reputation } from "./agent.ts";
import { FAILURE_WEIGHTS } from "./failure-weights.ts";
import {
  addOutcomes,
  decayFactor,
  LATENCY_ALPHA,
  newReputation,
  pooledStanding,
  standingAt,
  standingOf,
  wilsonLowerBound,
} from "./reputation.ts";

const ROUNDING = 1e-12;
const HALF_LIFE_MS = 7 * 86_400_000;

const one = { attempts: 1, lastTaskId: "task_1", runTimesMs: [] as readonly number[] };
const good = { ...one, success: true, reason: "" };
const bad = { ...one, success: false, reason: "AGENT_ERROR" };

describe("wilsonLowerBound", () => {
  // Values of the closed formula, computed to four places with an independent calculator.
  it.each([
    [0, 0, 0],
    [1, 1, 0.2065],
    [2, 2, 0.3424],
    [10, 10, 0.7225],
    [80, 84, 0.8839],
    [5, 10, 0.2366],
    [0, 10, 0],
  ])("puts %d of %d at %f", (successes, trials, expected) => {
    expect(wilsonLowerBound(successes, trials)).toBeCloseTo(expected, 4);
  });

  it("is between 0 and the share itself", () => {
    fc.assert(
      fc.property(weight(), weight(), (successes, failures) => {
        const trials = successes + failures;
        const bound = wilsonLowerBound(successes, trials);
        expect(bound).toBeGreaterThanOrEqual(0);
        const share = trials === 0 ? 0 : successes / trials;
        expect(bound).toBeLessThanOrEqual(share + ROUNDING);
      }),
    );
  });
});

describe("standingOf", () => {
  it("gives a new agent score 1, no evidence and a bound above 0", () => {
    expect(standingOf(0, 0)).toMatchObject({ score: 1, evidence: 0 });
    expect(standingOf(0, 0).lowerBound).toBeCloseTo(0.3424, 4);
  });

  it.each<[string, [number, number], [number, number]]>([
    ["80 of 84 above 1 of 1", [80, 4], [1, 0]],
    ["80 at 95 % above a newcomer", [76, 4], [0, 0]],
    ["4 of 5 above a newcomer", [4, 1], [0, 0]],
    ["a newcomer above 4 of 10", [0, 0], [4, 6]],
    ["a newcomer above one failure", [0, 0], [0, 1]],
    ["10 of 10 above 9 of 10", [10, 0], [9, 1]],
    ["90 of 100 above 9 of 10", [90, 10], [9, 1]],
  ])("puts %s", (_name, better, worse) => {
    expect(standingOf(...better).lowerBound).toBeGreaterThan(standingOf(...worse).lowerBound);
  });

  it("rises with every success and falls with every failure", () => {
    fc.assert(
      fc.property(weight(), weight(), (successes, failures) => {
        const { lowerBound } = standingOf(successes, failures);
        expect(standingOf(successes + 1, failures).lowerBound).toBeGreaterThan(lowerBound);
        expect(standingOf(successes, failures + 1).lowerBound).toBeLessThan(lowerBound);
      }),
    );
  });
});

describe("decay", () => {
  it("halves evidence in one half-life and keeps the score", () => {
    const reputation = fakeReputation({ successWeight: 8, failureWeight: 2 });
    const now = standingAt(reputation, NOW_MS, HALF_LIFE_MS);
    const later = standingAt(reputation, NOW_MS + HALF_LIFE_MS, HALF_LIFE_MS);
    expect(now).toMatchObject({ score: 0.8, evidence: 10 });
    expect(later.score).toBeCloseTo(0.8, 12);
    expect(later.evidence).toBeCloseTo(5, 12);
    expect(later.lowerBound).toBeLessThan(now.lowerBound);
  });

  it("brings an agent back towards a newcomer as its evidence fades", () => {
    const failing = fakeReputation({ failureWeight: 5 });
    const later = standingAt(failing, NOW_MS + 40 * HALF_LIFE_MS, HALF_LIFE_MS);
    expect(later.lowerBound).toBeCloseTo(standingOf(0, 0).lowerBound, 6);
  });

  it("ignores a clock that stands before the evidence", () => {
    expect(decayFactor(-1, HALF_LIFE_MS)).toBe(1);
    const ahead = fakeReputation({ updatedAtMs: NOW_MS + 60_000 });
    expect(addOutcomes(ahead, good, NOW_MS, HALF_LIFE_MS).updatedAtMs).toBe(NOW_MS + 60_000);
  });

  it("does not depend on when it is looked at in between", () => {
    fc.assert(
      fc.property(
        weight(),
        fc.integer({ min: 0, max: 1e9 }),
        fc.integer({ min: 0, max: 1e9 }),
        (w, a, b) => {
          const twoSteps = w * decayFactor(a, HALF_LIFE_MS) * decayFactor(b, HALF_LIFE_MS);
          expect(twoSteps).toBeCloseTo(w * decayFactor(a + b, HALF_LIFE_MS), 6);
        },
      ),
    );
  });
});

describe("addOutcomes", () => {
  const fold = (outcomes: readonly (typeof good)[], from = newReputation("text.analyse", NOW_MS)) =>
    outcomes.reduce<Reputation>(
      (reputation, each) => addOutcomes(reputation, each, NOW_MS, HALF_LIFE_MS),
      from,
    );

  it("counts successes and failures and says why it changed", () => {
    const after = fold([good, good, { ...bad, lastTaskId: "task_9" }]);
    expect(after).toMatchObject({
      successWeight: 2,
      failureWeight: 1,
      succeeded: 2,
      failed: 1,
      lastCause: "AGENT_ERROR task_9",
    });
    expect(fold([good]).lastCause).toBe("SUCCEEDED task_1");
  });

  it.each(Object.entries(FAILURE_WEIGHTS))("puts %s on the agent by %f", (reason, weight) => {
    const before = fold([good]);
    const after = fold([{ ...bad, reason }], before);
    expect(after.failureWeight).toBe(weight);
    expect(after.failed).toBe(weight === 0 ? 0 : 1);
    if (weight === 0) expect(after).toBe(before);
  });

  it.each(["DEADLINE_EXCEEDED", "AGENT_ERROR", "OUT_OF_PAPER", "constructor", ""])(
    "counts a failure with reason %j in full",
    (reason) => {
      expect(fold([{ ...bad, reason }])).toMatchObject({ failureWeight: 1, failed: 1 });
    },
  );

  it("takes the run time of successes into the mean", () => {
    const first = fold([{ ...good, runTimesMs: [100] }]);
    expect(first.meanLatencyMs).toBe(100);
    const second = fold([{ ...good, runTimesMs: [200] }], first);
    expect(second.meanLatencyMs).toBeCloseTo(100 + LATENCY_ALPHA * 100, 9);
    const third = fold([{ ...bad, runTimesMs: [1] }], second);
    expect(third.meanLatencyMs).toBe(second.meanLatencyMs);
  });

  it("comes to the same for many at once as for one after the other", () => {
    const ends = fc.record({
      success: fc.boolean(),
      reason: fc.constantFrom("AGENT_ERROR", "AGENT_LOST", "CANCELLED"),
      runTimesMs: fc.array(fc.integer({ min: 0, max: 1e6 }), { minLength: 1, maxLength: 20 }),
    });
    fc.assert(
      fc.property(fc.array(ends, { maxLength: 5 }), (all) => {
        const many = all.map((each, n) => {
          return { ...each, attempts: each.runTimesMs.length, lastTaskId: `task_${n}` };
        });
        const single = many.flatMap((each) =>
          each.runTimesMs.map((ms) => ({ ...each, attempts: 1, runTimesMs: [ms] })),
        );
        const earlier = fakeReputation({ successWeight: 8, updatedAtMs: NOW_MS - HALF_LIFE_MS });
        expect(fold(many, earlier)).toEqual(fold(single, earlier));
      }),
    );
  });
});

describe("pooledStanding", () => {
  it("adds up all capabilities", () => {
    const one = fakeReputation({ capability: "a", successWeight: 3 });
    const two = fakeReputation({ capability: "b", successWeight: 1, failureWeight: 4 });
    expect(pooledStanding([one, two], NOW_MS, HALF_LIFE_MS)).toEqual(standingOf(4, 4));
    expect(pooledStanding([], NOW_MS, HALF_LIFE_MS)).toEqual(standingOf(0, 0));
  });
});

function weight() {
  return fc.double({ min: 0, max: 1e6, noNaN: true });
}
