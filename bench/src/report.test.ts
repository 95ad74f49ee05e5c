import { describe, expect, it } from "vitest";
import { FIGURES, SERVICE_FIGURES } from "./figure.ts";
import { formatValue, type RunReport, renderJson, renderTable } from "./report.ts";

const REPORT: RunReport = {
  circumstances: {
    startedAt: "2026-11-22T10:00:00.000Z",
    quick: false,
    profiled: false,
    cpu: "Some CPU",
    cores: 2,
    memoryGib: 8,
    node: "20.20.2",
    platform: "linux x64",
    loadAverage: 0.4,
    fsyncP50Ms: 0.75,
    stolenShare: undefined,
    fleet: "one client process",
  },
  figures: [
    { key: "tasks_per_second", value: 12_345.6, load: "16 jobs of 500 tasks in flight" },
    { key: "assignment_p95_ms", value: 6.4321, load: "1 000 tasks/s" },
    { key: "ratio_to_bullmq", value: null, load: "not measured: no Redis" },
    { key: "memory_mib", service: "gateway", value: 101.26, load: "after all of the above" },
    { key: "memory_mib", service: "vault", value: 99.1, load: "after all of the above" },
  ],
  failures: [{ scenario: "messages", problem: "no answer" }],
};

describe("formatValue", () => {
  const cases: readonly (readonly [number, string])[] = [
    [0, "0"],
    [0.00012, "0.0001"],
    [0.1234, "0.123"],
    [1.2345, "1.23"],
    [12.345, "12.3"],
    [99.96, "100.0"],
    [123.45, "123"],
    [1234.5, "1 235"],
    [1_234_567, "1 234 567"],
    [-12.345, "-12.3"],
  ];
  for (const [value, text] of cases) {
    it(`writes ${value} as ${text}`, () => {
      expect(formatValue(value)).toBe(text);
    });
  }
});

describe("renderTable", () => {
  it("gives each figure its value, unit, load and target on one line", () => {
    const lines = renderTable(REPORT).split("\n");
    const [heading, tasks, assignment, missing, gateway] = lines.slice(5);
    expect(heading).toMatch(/^name +value +unit +load +target$/);
    expect(tasks).toMatch(
      /^tasks completed durably +12 346 {2}1\/s {3}16 jobs of 500 tasks in flight +> 1 000, aim 10 000$/,
    );
    expect(assignment).toMatch(
      /^task assignment, p95 +6\.43 {2}ms +1 000 tasks\/s +< 100, aim < 10$/,
    );
    expect(missing).toMatch(/^tasks \/ BullMQ +- {2}x +not measured: no Redis +aim > 1$/);
    expect(gateway).toMatch(/^resident memory after the load: gateway +101 {2}MiB/);
  });

  it("says on which machine and how loaded it was", () => {
    expect(renderTable(REPORT)).toContain(
      "2 x Some CPU, 8 GiB, linux x64, Node 20.20.2\nload average before the run 0.40; a durable 8 KiB write takes 0.750 ms\non this machine: Postgres, six services, one client process\n",
    );
    const shared = { ...REPORT, circumstances: { ...REPORT.circumstances, stolenShare: 0.123 } };
    expect(renderTable(shared)).toContain("0.750 ms; the host kept back 12.3 % of the cores\n");
    const quick = { ...REPORT, circumstances: { ...REPORT.circumstances, quick: true } };
    expect(renderTable(quick)).toContain("quick: too short to compare");
    const profiled = { ...REPORT, circumstances: { ...REPORT.circumstances, profiled: true } };
    expect(renderTable(profiled)).toContain("profiled: slower than it is");
  });
});

describe("renderJson", () => {
  it("puts figures under their keys and services under their names", () => {
    const parsed = JSON.parse(renderJson(REPORT)) as Record<string, unknown>;
    expect(parsed).toMatchObject({
      tasks_per_second: 12_345.6,
      assignment_p95_ms: 6.4321,
      ratio_to_bullmq: null,
      memory_mib: { gateway: 101.26, vault: 99.1 },
      circumstances: { cores: 2, quick: false },
      failures: [{ scenario: "messages", problem: "no answer" }],
    });
    expect(parsed["figures"]).toContainEqual({
      key: "assignment_p95_ms",
      value: 6.4321,
      load: "1 000 tasks/s",
      about: "task assignment, p95",
      unit: "ms",
      target: "< 100, aim < 10",
    });
  });

  it("keeps the keys that others read", () => {
    const promised = [
      "tasks_per_second",
      "assignment_p50_ms",
      "assignment_p95_ms",
      "assignment_p99_ms",
      "saturated_assignment_p95_ms",
      "ratio_to_bullmq",
      "ratio_to_graphile",
      "ratio_to_graphile_local_queue",
      "messages_per_second",
      "message_p95_ms",
      "discovery_p95_ms",
      "token_checks_per_second",
      "client_grants_per_second",
      "logins_per_second",
    ];
    expect(Object.keys(FIGURES)).toEqual(expect.arrayContaining(promised));
    expect(Object.keys(SERVICE_FIGURES)).toContain("memory_mib");
  });
});
