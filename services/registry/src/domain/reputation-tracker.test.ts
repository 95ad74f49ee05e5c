import { describe, expect, it } from "vitest";
import { fakeReputation, NOW_MS } from "./agent.fake.ts";
import type { OutcomeTally, ReputationBefore } from "./ports.ts";
import { createFakeEvents } from "./registry-events.fake.ts";
import { createReputationTracker, foldOutcomes } from "./reputation-tracker.ts";

const TIME = { nowMs: NOW_MS, halfLifeMs: 604_800_000 };

function outcome(changes: Partial<OutcomeTally> = {}): OutcomeTally {
  return {
    namespace: "default",
    agentId: "a",
    capability: "text.analyse",
    success: true,
    reason: "",
    attempts: 1,
    lastTaskId: "task_1",
    runTimesMs: [],
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
        outcome({ success: false, reason: "AGENT_ERROR", lastTaskId: "task_2" }),
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
  function setUp() {
    const calls: unknown[][] = [];
    const events = createFakeEvents();
    let changes = 0;
    const tracker = createReputationTracker({
      reputations: {
        count: (stream, groups) => {
          calls.push([stream, groups]);
          return Promise.resolve({ counted: 2, change: 7 });
        },
      },
      halfLifeMs: TIME.halfLifeMs,
      events,
      onChange: () => {
        changes += 1;
      },
    });
    return { tracker, calls, events, changes: () => changes };
  }

  it("hands groups on and tells what was counted", async () => {
    const { tracker, calls, events, changes } = setUp();
    const groups = [
      { position: 3n, tallies: [outcome()] },
      { position: 9n, tallies: [outcome({ attempts: 5 }), outcome({ success: false })] },
    ];
    expect(await tracker.report("stream", groups)).toBe(2);
    expect(calls).toEqual([["stream", groups]]);
    expect(events.told).toEqual([["outcomesCounted", 2, 5]]);
    expect(changes()).toBe(1);
  });

  it.each([[[1n, 1n]], [[2n, 1n]], [[0n]]])("refuses the positions %s", async (positions) => {
    const { tracker, calls } = setUp();
    const groups = positions.map((position) => ({ position, tallies: [outcome()] }));
    await expect(tracker.report("stream", groups)).rejects.toMatchObject({
      kind: "invalid",
      reason: "POSITIONS_NOT_RISING",
    });
    expect(calls).toEqual([]);
  });
});
