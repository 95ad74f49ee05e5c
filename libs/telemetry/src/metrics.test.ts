import { describe, expect, it } from "vitest";
import { createMetrics, LABEL_SETS_MAX, OVERFLOW_LABEL } from "./metrics.ts";

/** Returns the lines of the service's own metrics, without comments. */
async function linesOf(metrics: ReturnType<typeof createMetrics>): Promise<string[]> {
  const text = await metrics.registry.metrics();
  return text.split("\n").filter((line) => line !== "" && !line.startsWith("#"));
}

describe("createMetrics", () => {
  it("names metrics after the service", async () => {
    const metrics = createMetrics("mesh-router");
    metrics.counter({ name: "messages_total", help: "Messages." }).inc();
    expect(await linesOf(metrics)).toEqual(["nexus_mesh_router_messages_total 1"]);
  });

  it("counts by label", async () => {
    const metrics = createMetrics("test");
    const calls = metrics.counter({ name: "calls_total", help: "Calls.", labels: ["code"] });
    calls.inc({ code: "OK" });
    calls.inc({ code: "OK" }, 2);
    calls.inc({ code: "ABORTED" });
    expect(await linesOf(metrics)).toEqual([
      'nexus_test_calls_total{code="OK"} 3',
      'nexus_test_calls_total{code="ABORTED"} 1',
    ]);
  });

  it("sets, raises, lowers and removes gauges", async () => {
    const metrics = createMetrics("test");
    const plain = metrics.gauge({ name: "plain", help: "Plain." });
    plain.set(5);
    plain.inc();
    plain.dec(3);
    const labelled = metrics.gauge({ name: "labelled", help: "Labelled.", labels: ["pool"] });
    labelled.set({ pool: "a" }, 7);
    labelled.inc({ pool: "b" });
    labelled.dec({ pool: "a" }, 2);
    labelled.remove({ pool: "b" });
    expect(await linesOf(metrics)).toEqual([
      "nexus_test_plain 3",
      'nexus_test_labelled{pool="a"} 5',
    ]);
  });

  it("reads a gauge at scrape time", async () => {
    const metrics = createMetrics("test");
    let depth = 1;
    metrics.gauge({ name: "depth", help: "Depth.", read: () => depth });
    depth = 42;
    expect(await linesOf(metrics)).toEqual(["nexus_test_depth 42"]);
  });

  it("observes values and durations in buckets", async () => {
    const metrics = createMetrics("test");
    const sizes = metrics.histogram({ name: "batch_items", help: "Items.", buckets: [1, 10] });
    sizes.observe(5);
    const calls = metrics.histogram({ name: "call_seconds", help: "Calls.", labels: ["method"] });
    const seconds = calls.startTimer({ method: "get" })();
    expect(seconds).toBeGreaterThanOrEqual(0);
    calls.observe({ method: "get" }, 0.3);
    const lines = await linesOf(metrics);
    expect(lines).toContain('nexus_test_batch_items_bucket{le="1"} 0');
    expect(lines).toContain('nexus_test_batch_items_bucket{le="10"} 1');
    expect(lines).toContain('nexus_test_call_seconds_count{method="get"} 2');
  });

  it("returns the same metric for the same name, and refuses another shape under it", () => {
    const metrics = createMetrics("test");
    const spec = { name: "a_total", help: "A.", labels: ["x"] as const };
    expect(metrics.counter(spec)).toBe(metrics.counter(spec));
    expect(() => metrics.gauge(spec)).toThrow("exists as a counter");
    expect(() => metrics.counter({ ...spec, labels: ["y"] })).toThrow("exists as a counter");
  });

  it("folds label sets beyond the limit into one", async () => {
    const metrics = createMetrics("test");
    const wrong = metrics.counter({ name: "wrong_total", help: "By id.", labels: ["id"] });
    for (let i = 0; i < LABEL_SETS_MAX + 100; i++) wrong.inc({ id: `id ${i}` });
    wrong.inc({ id: "id 0" });
    const lines = await linesOf(metrics);
    expect(lines).toHaveLength(LABEL_SETS_MAX + 1);
    expect(lines).toContain(`nexus_test_wrong_total{id="${OVERFLOW_LABEL}"} 100`);
    expect(lines).toContain('nexus_test_wrong_total{id="id 0"} 2');
  });

  it("renders the process metrics once, beside the service's own, for several services", async () => {
    const first = createMetrics("first");
    const second = createMetrics("second");
    first.counter({ name: "a_total", help: "A." }).inc();
    for (const text of [await first.text(), await second.text()]) {
      expect(text.match(/^process_resident_memory_bytes /gm)).toHaveLength(1);
    }
    expect(await first.text()).toContain("nexus_first_a_total 1");
    expect(await second.text()).not.toContain("nexus_first");
  });
});
