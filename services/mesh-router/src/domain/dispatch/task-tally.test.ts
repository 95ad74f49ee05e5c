import { describe, expect, it } from "vitest";
import { createResumeToken, hashResumeToken, sameResumeHash } from "../session/resume-token.ts";
import { TaskTally } from "./task-tally.ts";

const origin = { over: false, refuse: () => undefined };
const assign = (tally: TaskTally, taskId: string, handedAtMs = 0, fence = 1n) =>
  tally.assign({ taskId, fence, slots: 1, origin, handedAtMs });

describe("TaskTally", () => {
  it("counts what is in hand", () => {
    const tally = new TaskTally();
    assign(tally, "a");
    assign(tally, "b");
    tally.end("a", 1n);
    tally.end("a", 1n);
    expect(tally.busy).toBe(1);
    tally.cancel("b", 2n);
    expect(tally.busy).toBe(1);
    tally.cancel("b", 1n);
    expect(tally.busy).toBe(0);
  });

  it("counts a task as the slots that it takes, until it ends, however it ends", () => {
    const tally = new TaskTally();
    const take = (taskId: string, slots: number) =>
      tally.assign({ taskId, fence: 1n, slots, origin, handedAtMs: 0 });
    for (const taskId of ["ended", "cancelled", "unheard"]) take(taskId, 3);
    take("unheard", 2);
    expect(tally.busy).toBe(8);
    tally.reconcile(9, 0, 100);
    expect(tally.busy).toBe(9);
    tally.reconcile(2, 0, 100);
    expect(tally.busy).toBe(8);
    tally.end("ended", 1n);
    tally.cancel("cancelled", 1n);
    expect(tally.busy).toBe(2);
    tally.takeUnheard();
    expect(tally.busy).toBe(0);
    take("cleared", 5);
    tally.clear();
    expect(tally.busy).toBe(0);
  });

  it("does not end a newer lease of the same task", () => {
    const tally = new TaskTally();
    assign(tally, "a", 0, 2n);
    tally.end("a", 1n);
    expect(tally.busy).toBe(1);
  });

  it("believes a heartbeat about tasks from before a restart of the router", () => {
    const tally = new TaskTally();
    tally.reconcile(3, 0, 100);
    expect(tally.busy).toBe(3);
    tally.end("unseen", 9n);
    expect(tally.busy).toBe(2);
    assign(tally, "a");
    tally.reconcile(3, 0, 100);
    expect(tally.busy).toBe(3);
  });

  it("drops what an idle agent took long ago, but nothing that may be on its way", () => {
    const tally = new TaskTally();
    assign(tally, "old", 0);
    assign(tally, "young", 950);
    assign(tally, "unheard", 0);
    tally.hear("old", 1n);
    tally.hear("young", 1n);
    tally.reconcile(0, 1_000, 100);
    expect(tally.busy).toBe(2);
  });

  it("gives out, once, the tasks that the agent never spoke about", () => {
    const tally = new TaskTally();
    assign(tally, "heard");
    assign(tally, "other-fence");
    assign(tally, "unheard");
    tally.hear("heard", 1n);
    tally.hear("other-fence", 2n);
    expect(tally.takeUnheard().map(({ taskId }) => taskId)).toEqual(["other-fence", "unheard"]);
    expect(tally.takeUnheard()).toEqual([]);
    expect(tally.busy).toBe(1);
    tally.clear();
    expect(tally.busy).toBe(0);
  });
});

describe("a tally by origin", () => {
  const other = { over: false, refuse: () => undefined };
  const assignTo = (tally: TaskTally, taskId: string, to = origin, fence = 1n) =>
    tally.assign({ taskId, fence, slots: 1, origin: to, handedAtMs: 0 });

  it("says who assigned a lease while it is in hand, and nobody afterwards", () => {
    const tally = new TaskTally();
    assignTo(tally, "a");
    assignTo(tally, "b", other);
    expect(tally.hear("a", 1n)).toBe(origin);
    expect(tally.hear("a", 2n)).toBeUndefined();
    expect(tally.end("b", 2n)).toBeUndefined();
    expect(tally.end("b", 1n)).toBe(other);
    expect(tally.end("b", 1n)).toBeUndefined();
    expect(tally.hear("b", 1n)).toBeUndefined();
    expect([tally.holds({ taskId: "a", fence: 1n }), tally.has("b")]).toEqual([true, false]);
  });

  it("counts by origin, however a task leaves", () => {
    const counts = (tally: TaskTally) => [tally.heldBy(origin), tally.heldBy(other)];
    const tally = new TaskTally();
    for (const taskId of ["a", "b", "c", "d"]) assignTo(tally, taskId);
    assignTo(tally, "e", other);
    expect(counts(tally)).toEqual([4, 1]);
    tally.end("a", 1n);
    tally.cancel("b", 1n);
    expect(counts(tally)).toEqual([2, 1]);
    assignTo(tally, "c", other, 2n);
    expect(counts(tally)).toEqual([1, 2]);
    tally.hear("d", 1n);
    tally.reconcile(0, 1_000, 100);
    expect(counts(tally)).toEqual([0, 2]);
    tally.takeUnheard();
    expect(counts(tally)).toEqual([0, 0]);
    assignTo(tally, "f");
    tally.clear();
    expect(counts(tally)).toEqual([0, 0]);
  });
});

describe("resume tokens", () => {
  it("are different each time and match by hash only", () => {
    const tokens = Array.from({ length: 100 }, createResumeToken);
    expect(new Set(tokens).size).toBe(100);
    const [one = "", two = ""] = tokens;
    expect(sameResumeHash(hashResumeToken(one), hashResumeToken(one))).toBe(true);
    expect(sameResumeHash(hashResumeToken(one), hashResumeToken(two))).toBe(false);
    expect(sameResumeHash(hashResumeToken(one), new Uint8Array())).toBe(false);
  });
});
