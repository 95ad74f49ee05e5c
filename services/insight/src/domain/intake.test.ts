import { describe, expect, it } from "vitest";
import {
  createMetricsCollector,
  FLUSH_BATCHES_MAX,
  QUEUED_BATCHES_MAX,
} from "./metrics-collector.ts";
import {
  assertStorable,
  namespaceOf,
  SAMPLE_AGE_MAX_MS,
  SAMPLE_LEAD_MAX_MS,
  type TaskSample,
} from "./task-sample.ts";

const NOW_MS = 1_800_000_000_000;

function sample(changes: Partial<TaskSample> = {}): TaskSample {
  return {
    sampleId: "task_1:1",
    namespace: "default",
    measuredAtMs: NOW_MS,
    jobId: "job_1",
    taskId: "task_1",
    capability: "text.analyse",
    agentId: "a",
    attempt: 1,
    success: true,
    reason: "",
    queueUs: 1,
    runUs: 2,
    ...changes,
  };
}

describe("assertStorable", () => {
  it.each([
    ["now", 0, true],
    ["a day ago", -SAMPLE_AGE_MAX_MS, true],
    ["longer ago", -SAMPLE_AGE_MAX_MS - 1, false],
    ["a little ahead", SAMPLE_LEAD_MAX_MS, true],
    ["further ahead", SAMPLE_LEAD_MAX_MS + 1, false],
  ])("judges a sample of %s", (_name, offsetMs, accepted) => {
    const check = () => assertStorable(sample({ measuredAtMs: NOW_MS + offsetMs }), NOW_MS, 3);
    if (accepted) expect(check).not.toThrow();
    else {
      expect(check).toThrow(
        expect.objectContaining({
          reason: "SAMPLE_TIME_INVALID",
          details: { fieldViolations: [expect.objectContaining({ field: "samples[3].time" })] },
        }),
      );
    }
  });

  it.each(["sampleId", "namespace", "jobId", "taskId", "capability", "agentId", "reason"] as const)(
    "refuses a NUL in %s, which would fail the samples of others",
    (field) => {
      expect(() => assertStorable(sample({ [field]: "a\0b" }), NOW_MS, 0)).toThrow(
        expect.objectContaining({ kind: "invalid", reason: "TEXT_NOT_STORABLE" }),
      );
    },
  );
});

describe("namespaceOf", () => {
  it.each([
    ["", "user", "default"],
    ["default", "agent", "default"],
    ["other", "service", "other"],
    ["other", "user", undefined],
    ["other", "agent", undefined],
  ])("lets %j by a %s into %s", (named, kind, expected) => {
    const read = () => namespaceOf(named, { namespace: "default", kind });
    if (expected === undefined) {
      expect(read).toThrow(
        expect.objectContaining({ kind: "forbidden", reason: "NAMESPACE_FORBIDDEN" }),
      );
    } else expect(read()).toBe(expected);
  });
});

describe("MetricsCollector", () => {
  function setUp() {
    const told: unknown[][] = [];
    const flushes: (readonly (readonly TaskSample[])[])[] = [];
    let release: () => void = () => undefined;
    const gate = new Promise<void>((resolve) => {
      release = resolve;
    });
    const collector = createMetricsCollector({
      samples: {
        insert: async (batches) => {
          flushes.push(batches);
          await gate;
          return batches.map((batch) => batch.length);
        },
        keepPartitions: () => Promise.resolve(),
      },
      events: {
        samplesStored: (...values) => told.push(["stored", ...values]),
        samplesRefused: (...values) => told.push(["refused", ...values]),
        samplesRolledUp: () => undefined,
      },
    });
    return { collector, flushes, told, release };
  }

  it("commits many callers' batches together and answers each for its own", async () => {
    const { collector, flushes, told, release } = setUp();
    release();
    const answers = await Promise.all([
      collector.record([sample()]),
      collector.record([sample(), sample()]),
      collector.record([sample()]),
    ]);
    expect(answers).toEqual([1, 2, 1]);
    expect(flushes).toHaveLength(1);
    expect(told).toContainEqual(["stored", 2, 0]);
    await collector.close();
  });

  it("refuses a batch when too many wait, and stores nothing of it", async () => {
    const { collector, flushes, told, release } = setUp();
    const running = Array.from({ length: FLUSH_BATCHES_MAX }, () => collector.record([sample()]));
    const waiting = Array.from({ length: QUEUED_BATCHES_MAX }, () => collector.record([sample()]));
    const refused = collector.record([sample({ sampleId: "refused" })]);
    await expect(refused).rejects.toMatchObject({ kind: "exhausted", reason: "QUEUE_FULL" });
    await expect(refused).rejects.toHaveProperty("details.retryAfterMs", expect.any(Number));
    expect(told).toEqual([["refused", "queue_full"]]);
    release();
    await Promise.all([...running, ...waiting]);
    expect(flushes.flat(2).some(({ sampleId }) => sampleId === "refused")).toBe(false);
    await collector.close();
  });
});
