import { describe, expect, it } from "vitest";
import {
  baselineOf,
  factorsOf,
  RANKING_WEIGHTS,
  type RankingFactors,
  type RankingInput,
  scoreOf,
  UNKNOWN_LATENCY_FACTOR,
} from "./agent-ranking.ts";

const plain: RankingInput = {
  lowerBound: 0.5,
  freeSlots: 1,
  slots: 2,
  latencyMs: 100,
  costMicros: 0,
  text: 1,
};

function scores(inputs: readonly RankingInput[]): number[] {
  const baseline = baselineOf(inputs);
  return inputs.map((input) => scoreOf(input, baseline));
}

describe("ranking", () => {
  it("weighs to 1 in all", () => {
    const sum = Object.values(RANKING_WEIGHTS).reduce((a, b) => a + b, 0);
    expect(sum).toBeCloseTo(1, 12);
  });

  it.each<[string, Partial<RankingInput>, Partial<RankingInput>]>([
    ["the better reputation", { lowerBound: 0.9 }, { lowerBound: 0.5 }],
    ["more of its slots free", { freeSlots: 2 }, { freeSlots: 1 }],
    ["one free of one above half free", { freeSlots: 1, slots: 1 }, { freeSlots: 5, slots: 10 }],
    ["the faster one", { latencyMs: 50 }, { latencyMs: 100 }],
    ["a fast one above an unknown", { latencyMs: 50 }, { latencyMs: undefined }],
    ["the cheaper one", { costMicros: 10 }, { costMicros: 20 }],
    ["the free one above any price", { costMicros: 0 }, { costMicros: 1 }],
    ["the closer text", { text: 1 }, { text: 0.5 }],
    ["reputation above price and speed", { lowerBound: 0.9, latencyMs: 200, costMicros: 5 }, {}],
  ])("prefers %s", (_name, better, worse) => {
    const [first = 0, second = 0] = scores([
      { ...plain, ...better },
      { ...plain, ...worse },
    ]);
    expect(first).toBeGreaterThan(second);
  });

  it.each<[string, Partial<RankingInput>, Record<string, number>]>([
    ["no session", { freeSlots: 0, slots: 0 }, { freeSlots: 0 }],
    ["more free than granted", { freeSlots: 3, slots: 2 }, { freeSlots: 1 }],
    ["unknown latency", { latencyMs: undefined }, { latency: UNKNOWN_LATENCY_FACTOR }],
    ["no time at all", { latencyMs: 0 }, { latency: 1 }],
  ])("copes with %s", (_name, changes, expected) => {
    const input = { ...plain, ...changes };
    expect(factorsOf(input, baselineOf([input]))).toMatchObject(expected);
  });

  it("scores by the weighted sum of the factors", () => {
    const baseline = { fastestMs: 50, cheapestMicros: 3 };
    const input = { ...plain, costMicros: 9 };
    const factors = Object.entries(factorsOf(input, baseline));
    const sum = factors.reduce(
      (total, [name, factor]) => total + RANKING_WEIGHTS[name as keyof RankingFactors] * factor,
      0,
    );
    expect(scoreOf(input, baseline)).toBeCloseTo(sum, 12);
  });

  it("compares latency and cost with the best there is", () => {
    const inputs = [
      { ...plain, latencyMs: 100, costMicros: 10 },
      { ...plain, latencyMs: 400, costMicros: 30 },
      { ...plain, latencyMs: undefined, costMicros: 0 },
    ];
    const baseline = baselineOf(inputs);
    expect(baseline).toEqual({ fastestMs: 100, cheapestMicros: 10 });
    expect(inputs.map((input) => factorsOf(input, baseline))).toMatchObject([
      { latency: 1, cost: 0.5 },
      { latency: 0.25, cost: 0.25 },
      { latency: UNKNOWN_LATENCY_FACTOR, cost: 1 },
    ]);
  });
});
