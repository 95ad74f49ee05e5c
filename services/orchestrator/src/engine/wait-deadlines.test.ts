import { describe, expect, it } from "vitest";
import { TaskPacker, type WaitingTask } from "../domain/waiting-task.ts";
import { fakeTask } from "./engine.fake.ts";
import { WaitDeadlines } from "./wait-deadlines.ts";

/** A book of deadlines, and who has left. */
function book() {
  const gone = new Set<WaitingTask>();
  let looks = 0;
  const deadlines = new WaitDeadlines((waiting) => {
    looks += 1;
    return !gone.has(waiting);
  });
  const packer = new TaskPacker();
  const add = (startByMs: number): WaitingTask => {
    const waiting = packer.pack(fakeTask(), 0, startByMs);
    deadlines.add(waiting);
    return waiting;
  };
  const leave = (waiting: WaitingTask) => {
    gone.add(waiting);
    deadlines.left();
  };
  return { deadlines, add, leave, looks: () => looks };
}

describe("WaitDeadlines", () => {
  it("finds every overdue task, earlier seconds first, and none before its time", () => {
    const { deadlines, add } = book();
    const [late, early, next] = [add(2_900), add(1_200), add(2_100)];
    expect(deadlines.overdue(1_199, 10)).toEqual([]);
    expect(deadlines.overdue(1_200, 10)).toEqual([early]);
    expect(deadlines.overdue(2_500, 10)).toEqual([early, next]);
    expect(deadlines.overdue(2_900, 10)).toHaveLength(3);
    expect(deadlines.overdue(2_900, 10)[0]).toBe(early);
    expect(deadlines.overdue(5_000, 10)).toContain(late);
  });

  it("does not look at tasks of later seconds, nor at any before the next is overdue", () => {
    const { deadlines, add, looks } = book();
    for (let i = 0; i < 100; i += 1) add(10_000 + i);
    const first = add(1_500);
    expect(deadlines.overdue(1_400, 10)).toEqual([]);
    expect(looks()).toBe(0);
    expect(deadlines.overdue(2_000, 10)).toEqual([first]);
    expect(looks()).toBe(1);
  });

  it("gets through many of one second in steps without looking at the same ones again", () => {
    const { deadlines, add, leave, looks } = book();
    for (let i = 0; i < 1_000; i += 1) add(1_000);
    let found = 0;
    for (let due = deadlines.overdue(1_000, 50); due.length > 0; ) {
      found += due.length;
      for (const waiting of due) leave(waiting);
      due = deadlines.overdue(1_000, 50);
    }
    expect(found).toBe(1_000);
    expect(looks()).toBeLessThan(10_000);
  });

  it("keeps no more of those that left than there are, and few looks for each", () => {
    const { deadlines, add, leave, looks } = book();
    for (let i = 0; i < 100; i += 1) add(1e9 + i * 1_000);
    for (let i = 0; i < 10_000; i += 1) leave(add(5e8 + i));
    expect(looks()).toBeLessThan(30_000);
    expect(looks()).toBeGreaterThan(9_000);
    expect(deadlines.overdue(6e8, 10)).toEqual([]);
    expect(deadlines.overdue(1e9 + 50_000, 1_000)).toHaveLength(51);
  });
});
