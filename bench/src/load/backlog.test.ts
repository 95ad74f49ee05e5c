import { describe, expect, it } from "vitest";
import { planJobs } from "./backlog.ts";

describe("planJobs", () => {
  for (const tasks of [0, 1, 2, 19_999, 20_001, 1_000_000]) {
    it(`plans exactly ${tasks} tasks in jobs that are not too large`, () => {
      const jobs = planJobs(tasks);
      expect(jobs.reduce((sum, job) => sum + job.tasks, 0)).toBe(tasks);
      for (const job of jobs) {
        expect(job.tasks).toBeGreaterThan(0);
        expect(job.tasks).toBeLessThanOrEqual(10_000);
      }
    });
  }

  it("gives half of the tasks to each need that nobody meets", () => {
    const sums = new Map<string, number>();
    for (const { tasks, need } of planJobs(40_001)) {
      sums.set(need.capability, (sums.get(need.capability) ?? 0) + tasks);
    }
    expect([...sums.values()]).toEqual([20_000, 20_001]);
  });
});
