import { createManualClock } from "@nexus/shared";
import { describe, expect, it } from "vitest";
import { type CodeClass, Objectives } from "./objectives.ts";

const HOUR_MS = 3_600_000;

function setUp() {
  const clock = createManualClock(1_800_000_000_000);
  const options = { availability: 0.99, latency: 0.9, latencyMaxMs: 1_000 };
  const objectives = new Objectives({ ...options, clock });
  const end = (count: number, how: CodeClass, tookMs?: number) => {
    for (let one = 0; one < count; one += 1) objectives.callEnded(how, tookMs);
  };
  const reportOf = (name: string) => objectives.report().find((report) => report.name === name);
  return { clock, end, reportOf };
}

describe("Objectives", () => {
  it("are met, with the whole budget left, before anything happened", () => {
    const { reportOf } = setUp();
    for (const name of ["availability", "latency"]) {
      expect(reportOf(name)).toMatchObject({ total: 0, met: true, budgetRemaining: 1 });
    }
  });

  it("count our faults against availability, the caller's not, and those who left nowhere", () => {
    const { end, reportOf } = setUp();
    end(97, "ok", 5);
    end(2, "caller", 5);
    end(1, "server", 5);
    end(50, "cancelled", 5);
    const report = reportOf("availability");
    expect(report).toMatchObject({ objective: 0.99, total: 100, bad: 1, met: true });
    expect(report?.budgetRemaining).toBeCloseTo(0);
    expect(report?.burnRateHour).toBeCloseTo(1);
  });

  it("count slow answers against latency, and what failed or has no promise nowhere", () => {
    const { end, reportOf } = setUp();
    end(7, "ok", 1_000);
    end(1, "caller", 1_000);
    end(2, "ok", 1_001);
    end(5, "server", 9_000);
    end(5, "ok");
    const report = reportOf("latency");
    expect(report).toMatchObject({ objective: 0.9, total: 10, bad: 2, met: false });
    expect(report?.budgetRemaining).toBeCloseTo(-1);
  });

  it("say how fast the budget goes now, and forget after a day", () => {
    const { clock, end, reportOf } = setUp();
    end(10, "server");
    clock.advance(HOUR_MS / 2);
    expect(reportOf("availability")).toMatchObject({ burnRateMinutes: 0 });
    expect(reportOf("availability")?.burnRateHour).toBeCloseTo(100);
    clock.advance(24 * HOUR_MS);
    expect(reportOf("availability")).toMatchObject({ total: 0, met: true, budgetRemaining: 1 });
  });
});
