import { describe, expect, it } from "vitest";
import type { RoutingDecision } from "../domain/routing-decision.ts";
import { readDecision, writeDecision } from "./decision-row.ts";

const WHOLE: RoutingDecision = {
  agentId: "a",
  score: 0.5321,
  factors: {
    reputation: 0.1,
    latency: 0.2,
    load: 0.3,
    cost: 0.4,
    region: 0.5,
    preferred: 0.6,
    affinity: 0.7,
  },
  fallbackAgentId: 'b"b',
  fallbackScore: 0.5,
  eligible: 2,
  rejections: [{ agentId: "c", reason: "NO_FREE_SLOT" }],
  exploration: true,
};
const BARE: RoutingDecision = {
  agentId: "a",
  score: 1,
  factors: undefined,
  fallbackAgentId: "",
  fallbackScore: 0,
  eligible: 1,
  rejections: [],
  exploration: false,
};

function stored(decision: RoutingDecision): RoutingDecision {
  return readDecision(JSON.parse(writeDecision(decision)), decision.agentId);
}

describe("a stored decision", () => {
  it("says what was decided", () => {
    expect(stored(WHOLE)).toEqual(WHOLE);
    expect(stored(BARE)).toEqual(BARE);
  });

  it("has its numbers to four digits, each as often as it comes up", () => {
    const values = [2 / 3, 0, 1, 0.5, 0.000_04, 0.999_96, 1.5, -0.25];
    const scores = [0.6667, 0, 1, 0.5, 0, 1, 1.5, -0.25];
    for (const _ of "twice") {
      expect(values.map((score) => stored({ ...BARE, score }).score)).toEqual(scores);
    }
  });

  it("is read as it was written before", () => {
    expect(readDecision(JSON.parse(JSON.stringify(WHOLE)), "other")).toEqual(WHOLE);
  });

  it("is short where there is little to say", () => {
    expect(writeDecision(BARE)).toBe('{"score":1,"eligible":1}');
  });
});
