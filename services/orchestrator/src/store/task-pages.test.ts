import { describe, expect, it } from "vitest";
import { pagesByTasks } from "./task-pages.ts";

const jobs = (...totals: number[]) => totals.map((total, at) => ({ jobId: `j${at}`, total }));

describe("pagesByTasks", () => {
  it("fills pages in order, and lets a job that is larger stand alone", () => {
    expect(pagesByTasks(jobs(4, 6, 1, 30, 2, 8), 10)).toEqual([
      ["j0", "j1"],
      ["j2"],
      ["j3"],
      ["j4", "j5"],
    ]);
  });

  it("makes no page of nothing", () => {
    expect(pagesByTasks([])).toEqual([]);
  });
});
