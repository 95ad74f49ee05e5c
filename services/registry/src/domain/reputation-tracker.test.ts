import { describe, expect, it } from "vitest";
import { fakeReputation, NOW_MS } from "./agent.fake.ts";
import type { Outcome, ReputationBefore } from "./ports.ts";
import { createFakeEvents } from "./registry-events.fake.ts";
import { createReputationTracker, foldOutcomes } from "./reputation-tracker.ts";

const TIME = { nowMs: NOW_MS, halfLifeMs: 604_800_000 };

function outcome(changes: Partial<Outcome> = {}): Outcome {
  return {
    namespace: "default",
    agentId: "a",
    capability: "text.analyse",
    taskId: "task_1",
    fence: 1n,
    success: true,
    reason: "",
    runTimeMs: undefined,
    ...changes,
  };
}

function before(changes: Partial<ReputationBefore> = {}): ReputationBefore {
  return {
    namespace: "default",
    agentId: "a",
    capability: "text.analyse",
    reputation: undefined,
    ...changes,
  };
}

describe("foldOutcomes", () => {
  it("adds each outcome to its own reputation, in order", () => {
    const changed = foldOutcomes(
      [
        before(),
        before({ agentId: "b", reputation: fakeReputation({ succeeded: 5, successWeight: 5 }) }),
        before({ capability: "map.draw" }),
      ],
      [
        outcome(),
        outcome({ success: false, reason: "AGENT_ERROR", taskId: "task_2" }),
        outcome({ agentId: "b" }),
        outcome({ namespace: "other" }),
      ],
      TIME,
    );
    expect(changed.map(({ agentId, reputation }) => [agentId, reputation])).toEqual([
      ["a", expect.objectContaining({ succeeded: 1, failed: 1, lastCause: "AGENT_ERROR task_2" })],
      ["b", expect.objectContaining({ succeeded: 6 })],
    ]);
  });

  it("leaves out reputations that nothing changed", () => {
    const cancelled = outcome({ success: false, reason: "JOB_CANCELLED" });
    expect(foldOutcomes([before()], [cancelled], TIME)).toEqual([]);
  });
});

describe("ReputationTracker", () => {
  it("passes each task and fence once and tells what was counted", async () => {
    const passed: (readonly Outcome[])[] = [];
    const events = createFakeEvents();
    let changes = 0;
    const tracker = createReputationTracker({
      reputations: {
        count: (outcomes) => {
          passed.push(outcomes);
          return Promise.resolve({ counted: 2, change: 7 });
        },
      },
      halfLifeMs: TIME.halfLifeMs,
      events,
      onChange: () => {
        changes += 1;
      },
    });
    const repeated = [outcome(), outcome({ success: false }), outcome({ fence: 2n })];
    expect(await tracker.report(repeated)).toBe(2);
    expect(passed).toEqual([[outcome(), outcome({ fence: 2n })]]);
    expect(events.told).toEqual([["outcomesCounted", 2, 1]]);
    expect(changes).toBe(1);
  });
});
