import { describe, expect, it } from "vitest";
import { PausedJobs } from "./paused-jobs.ts";

const job = (jobId: string, tasks: number, namespace = "default") => ({ jobId, namespace, tasks });

describe("PausedJobs", () => {
  it("counts what paused jobs withhold, by namespace and in all", () => {
    const paused = new PausedJobs();
    paused.add(job("a", 3));
    paused.add(job("b", 2));
    paused.add(job("c", 4, "other"));
    expect([paused.size, paused.tasks]).toEqual([3, 9]);
    expect(paused.tasksOf("default")).toBe(5);
    paused.recount("a", 1);
    paused.recount("gone", 7);
    expect(paused.tasksOf("default")).toBe(3);
    paused.delete("b");
    paused.delete("b");
    expect(paused.tasksOf("default")).toBe(1);
    paused.removeWhere((jobId) => jobId === "c");
    expect([paused.has("c"), paused.tasks, paused.tasksOf("other")]).toEqual([false, 1, 0]);
    paused.clear();
    expect([paused.size, paused.tasks, paused.tasksOf("default")]).toEqual([0, 0, 0]);
  });

  it("counts a job once that is added again", () => {
    const paused = new PausedJobs();
    paused.add(job("a", 3));
    paused.add(job("a", 2));
    expect([paused.size, paused.tasks]).toEqual([1, 2]);
  });
});
