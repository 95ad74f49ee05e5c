import { SERVICE_NAMES, type StackInfo } from "@nexus/devkit";
import { describe, expect, it } from "vitest";
import { readMetric, readUsages } from "./metrics.ts";

const TEXT = `# HELP process_resident_memory_bytes Resident memory size in bytes.
# TYPE process_resident_memory_bytes gauge
process_resident_memory_bytes 104857600

process_resident_memory_bytes_other 7
nexus_gateway_calls_total{service="x"} 4
process_cpu_seconds_total 1.25e+1 1732270000000
broken_total yes
`;

describe("readMetric", () => {
  it("finds a sample without labels, with or without its time", () => {
    expect(readMetric(TEXT, "process_resident_memory_bytes")).toBe(104_857_600);
    expect(readMetric(TEXT, "process_cpu_seconds_total")).toBe(12.5);
  });

  it("names the metric that is missing or no number", () => {
    expect(() => readMetric(TEXT, "process_resident")).toThrow("process_resident");
    expect(() => readMetric(TEXT, "nexus_gateway_calls_total")).toThrow(
      "nexus_gateway_calls_total",
    );
    expect(() => readMetric(TEXT, "broken_total")).toThrow("broken_total");
  });
});

describe("readUsages", () => {
  it("says which service cannot be asked, where, and why", async () => {
    const entries = SERVICE_NAMES.map((name) => [name, { ops: "http://127.0.0.1:6666" }]);
    const info = { services: Object.fromEntries(entries) } as StackInfo;
    await expect(readUsages(info)).rejects.toThrow(
      /^\S+ gives no metrics at http:..127.0.0.1:6666.metrics: .*bad port/,
    );
  });
});
