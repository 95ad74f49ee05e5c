import { describe, expect, it } from "vitest";
import { createMetricsCollector } from "./metrics-collector.ts";
import {
  assertStorable,
  OUTCOME_AGE_MAX_MS,
  OUTCOME_LEAD_MAX_MS,
  type OutcomeGroup,
  type RecordedOutcome,
} from "./recorded-outcome.ts";

const NOW_MS = 1_800_000_000_000;

const KIND = {
  namespace: "default",
  agentId: "a",
  capability: "text.analyse",
  success: true,
  reason: "",
};

function outcome(changes: Partial<RecordedOutcome> = {}): RecordedOutcome {
  return {
    kind: KIND,
    endedAtMs: NOW_MS,
    jobId: "job_1",
    queueUs: 1,
    runUs: 2,
    ...changes,
  };
}

function group(position: number, ...outcomes: RecordedOutcome[]): OutcomeGroup {
  return { position: BigInt(position), outcomes };
}

describe("assertStorable", () => {
  it.each([
    ["now", 0, true],
    ["a day ago", -OUTCOME_AGE_MAX_MS, true],
    ["longer ago", -OUTCOME_AGE_MAX_MS - 1, false],
    ["a little ahead", OUTCOME_LEAD_MAX_MS, true],
    ["further ahead", OUTCOME_LEAD_MAX_MS + 1, false],
  ])("judges an outcome of %s", (_name, offsetMs, accepted) => {
    const late = outcome({ endedAtMs: NOW_MS + offsetMs });
    const check = () => assertStorable([group(1, outcome()), group(2, outcome(), late)], NOW_MS);
    if (accepted) expect(check).not.toThrow();
    else {
      const field = "groups[1].outcomes[1].end_time";
      expect(check).toThrow(
        expect.objectContaining({
          reason: "SAMPLE_TIME_INVALID",
          details: { fieldViolations: [expect.objectContaining({ field })] },
        }),
      );
    }
  });

  it.each<[string, Partial<RecordedOutcome>]>([
    ["its job", { jobId: "a\0b" }],
    ["its namespace", { kind: { ...KIND, namespace: "a\0b" } }],
    ["its capability", { kind: { ...KIND, capability: "a\0b" } }],
    ["its agent", { kind: { ...KIND, agentId: "a\0b" } }],
    ["its reason", { kind: { ...KIND, reason: "a\0b" } }],
  ])(
    "refuses a NUL in %s, which no sum could be stored under, also behind others",
    (_name, changes) => {
      const groups = [group(1, outcome(), outcome(changes))];
      const check = () => assertStorable(groups, NOW_MS);
      expect(check).toThrow(
        expect.objectContaining({ kind: "invalid", reason: "TEXT_NOT_STORABLE" }),
      );
    },
  );

  it.each([
    [[1, 2, 9], true],
    [[1, 1], false],
    [[2, 1], false],
    [[0], false],
  ])("judges the positions %j", (positions, accepted) => {
    const check = () =>
      assertStorable(
        positions.map((n) => group(n, outcome())),
        NOW_MS,
      );
    if (accepted) expect(check).not.toThrow();
    else expect(check).toThrow(expect.objectContaining({ reason: "POSITIONS_NOT_RISING" }));
  });
});

describe("MetricsCollector", () => {
  function setUp(stored: number) {
    const told: unknown[][] = [];
    const calls: unknown[][] = [];
    const collector = createMetricsCollector({
      packs: {
        store: (...call) => {
          calls.push(call);
          return Promise.resolve(stored);
        },
        keepPartitions: () => Promise.resolve(),
      },
      events: {
        samplesStored: (...values) => told.push(["stored", ...values]),
        samplesRolledUp: () => undefined,
      },
    });
    return { collector, told, calls };
  }

  it("tells how many outcomes were new and how many were not", async () => {
    const { collector, told, calls } = setUp(2);
    const groups = [group(4, outcome()), group(6, outcome(), outcome())];
    expect(await collector.record("stream", groups, NOW_MS)).toBe(2);
    expect(calls).toEqual([["stream", groups]]);
    expect(told).toEqual([["stored", 2, 1]]);
  });

  it("hands on nothing of a call that is refused", async () => {
    const { collector, told, calls } = setUp(1);
    const call = collector.record("stream", [group(1, outcome({ endedAtMs: 0 }))], NOW_MS);
    await expect(call).rejects.toMatchObject({ kind: "invalid", reason: "SAMPLE_TIME_INVALID" });
    expect([...told, ...calls]).toEqual([]);
  });
});
