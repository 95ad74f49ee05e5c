import { describe, expect, it } from "vitest";
import { createPerformanceAnalytics, PAGE_LINES_MAX } from "./performance-analytics.ts";
import { PerformanceTally } from "./performance-tally.ts";
import type { PerformanceStore } from "./ports.ts";

const FILTER = { namespace: "default", windowMs: 1_000, agentId: "", capability: "" };

function setUp(count: number) {
  const names = Array.from({ length: count }, (_, n) => `agent-${String(n).padStart(4, "0")}`);
  const performance = new PerformanceTally().summary();
  const limits: number[] = [];
  const store: PerformanceStore = {
    list: (_grouping, _filter, { afterName, limit }) => {
      limits.push(limit);
      const found = names.filter((name) => name > afterName).slice(0, limit);
      return Promise.resolve(found.map((name) => ({ name, performance })));
    },
    job: () => Promise.resolve(undefined),
  };
  return { analytics: createPerformanceAnalytics(store), limits };
}

describe("PerformanceAnalytics", () => {
  it.each([
    [3, 10, [3]],
    [10, 10, [10]],
    [11, 10, [10, 1]],
    [25, 10, [10, 10, 5]],
  ])("goes through %d lines in pages of %d", async (count, size, expected) => {
    const { analytics } = setUp(count);
    const sizes: number[] = [];
    let afterName: string | undefined = "";
    while (afterName !== undefined) {
      const page = await analytics.list("agent", FILTER, { afterName, size });
      sizes.push(page.items.length);
      afterName = page.nextAfter;
    }
    expect(sizes).toEqual(expected);
  });

  it("adds up no more lines than it can, however many are asked for", async () => {
    const { analytics, limits } = setUp(1_000);
    const page = await analytics.list("agent", FILTER, { afterName: "", size: 1_000 });
    expect(page.items).toHaveLength(PAGE_LINES_MAX);
    expect(page.nextAfter).toBe("agent-0249");
    expect(limits).toEqual([PAGE_LINES_MAX + 1]);
  });

  it("knows no job without samples", async () => {
    const { analytics } = setUp(0);
    await expect(analytics.job("default", "job_1")).rejects.toMatchObject({
      kind: "not_found",
      reason: "NO_SAMPLES",
    });
  });
});
