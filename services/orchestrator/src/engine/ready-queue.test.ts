import { describe, expect, it } from "vitest";
import type { LiveTask } from "../domain/live-task.ts";
import { fakeTask } from "./engine.fake.ts";
import { laneKey, needOf, ReadyQueue } from "./ready-queue.ts";

const LANE = laneKey("default", "x");

/** Takes everything out of the lane, best first. */
function drain(queue: ReadyQueue): string[] {
  const keys: string[] = [];
  for (;;) {
    const lane = queue.lane(LANE);
    const best = lane === undefined ? undefined : queue.best(lane);
    if (best === undefined) return keys;
    queue.take(best.task.taskId);
    keys.push(best.task.key);
  }
}

describe("ReadyQueue", () => {
  it("orders by priority, then by age, then by id", () => {
    const queue = new ReadyQueue();
    const tasks = [
      fakeTask({ key: "young", readyAtMs: 2 }),
      fakeTask({ key: "low", priority: -1 }),
      fakeTask({ key: "old", readyAtMs: 1 }),
      fakeTask({ key: "high", priority: 5, readyAtMs: 9 }),
      fakeTask({ key: "same", readyAtMs: 2 }),
    ];
    for (const task of tasks) queue.add(task, 0);
    expect(queue.size).toBe(5);
    expect(drain(queue)).toEqual(["high", "old", "young", "same", "low"]);
    expect(queue.size).toBe(0);
    expect(queue.lane(LANE)).toBeUndefined();
  });

  it("compares tasks of different classes, and leaves out those that are set aside", () => {
    const queue = new ReadyQueue();
    queue.add(fakeTask({ key: "gpu", priority: 9 }, { requiredLabels: { gpu: "a", z: "1" } }), 0);
    queue.add(fakeTask({ key: "gpu2", priority: 8 }, { requiredLabels: { z: "1", gpu: "a" } }), 0);
    queue.add(fakeTask({ key: "any" }), 0);
    const lane = queue.lane(LANE);
    if (lane === undefined) throw new Error("no lane");
    expect(lane.classes.size).toBe(2);
    const best = queue.best(lane);
    expect(best?.task.key).toBe("gpu");
    if (best !== undefined) lane.setAside(best.group, needOf(best.task), true);
    expect(queue.best(lane)?.task.key).toBe("any");
  });

  it("puts into one class what the same agents can take, whatever is merely preferred", () => {
    const queue = new ReadyQueue();
    const demand = { key: "vram", comparator: "GREATER_THAN", values: ["40"], weight: 0 } as const;
    const specs = [
      {},
      { affinityKey: "k", labelConstraints: [{ ...demand, weight: 5 }] },
      { preferredLabels: { zone: "eu" }, slotCost: 1 },
      { labelConstraints: [demand] },
      { labelConstraints: [demand, { ...demand, weight: 1 }] },
      { slotCost: 2 },
    ];
    for (const spec of specs) queue.add(fakeTask({}, spec), 0);
    const sizes = [...(queue.lane(LANE)?.classes.values() ?? [])].map(({ heap }) => heap.size);
    expect(sizes).toEqual([3, 2, 1]);
  });

  it("says since when a task could go", () => {
    const queue = new ReadyQueue();
    const task = fakeTask();
    queue.add(task, 17);
    expect(queue.take(task.taskId)?.sinceMs).toBe(17);
    expect(queue.take(task.taskId)).toBeUndefined();
  });

  it("holds delayed tasks back until they are due", () => {
    const queue = new ReadyQueue();
    queue.addDelayed(fakeTask({ key: "b" }), 200);
    queue.addDelayed(fakeTask({ key: "a" }), 100);
    expect(queue.nextDueAtMs).toBe(100);
    expect(queue.releaseDue(99).size).toBe(0);
    expect([...queue.releaseDue(100)]).toEqual([LANE]);
    expect(drain(queue)).toEqual(["a"]);
    expect(queue.delayedSize).toBe(1);
    queue.releaseDue(1_000);
    expect(drain(queue)).toEqual(["b"]);
  });

  it("forgets a removed task, delayed or not, and takes the same one again", () => {
    const queue = new ReadyQueue();
    const now = fakeTask({ key: "now" });
    const later = fakeTask({ key: "later" });
    queue.add(now, 0);
    queue.addDelayed(later, 5);
    expect(queue.remove(now.taskId)).toBe(true);
    expect(queue.remove(later.taskId)).toBe(true);
    expect(queue.remove(later.taskId)).toBe(false);
    expect(queue.releaseDue(10).size).toBe(0);
    queue.add(now, 0);
    queue.add(now, 0);
    expect(drain(queue)).toEqual(["now"]);
  });

  it("finds what has waited longer than it may, and keeps it until it is removed", () => {
    const queue = new ReadyQueue();
    const [long, short, gone, retried] = [10_000, 1_000, 500, 3_000].map((scheduleToStartMs) =>
      fakeTask({}, { scheduleToStartMs }),
    ) as [LiveTask, LiveTask, LiveTask, LiveTask];
    for (const task of [long, short, gone]) queue.add(task, 0);
    queue.addDelayed(retried, 2_000);
    queue.take(gone.taskId);
    expect(queue.overdue(999, 10)).toEqual([]);
    expect(queue.overdue(10_000, 2)).toEqual([short.taskId, retried.taskId]);
    expect(queue.overdue(10_000, 10)).toEqual([short.taskId, retried.taskId, long.taskId]);
    queue.remove(retried.taskId);
    queue.add(short, 9_500);
    expect(queue.overdue(10_000, 10)).toEqual([long.taskId]);
    queue.addDelayed(gone, 9_900, 9_800);
    expect(queue.overdue(10_000, 10)).toEqual([gone.taskId, long.taskId]);
    queue.clear();
    expect(queue.overdue(100_000, 10)).toEqual([]);
  });

  it("stays small when most of what was added is removed again", () => {
    const queue = new ReadyQueue();
    const stays = fakeTask({ key: "stays" });
    queue.add(stays, 0);
    for (let i = 0; i < 20_000; i += 1) {
      const task = fakeTask();
      queue.add(task, 0);
      queue.remove(task.taskId);
    }
    const heap = queue.lane(LANE)?.classes.get("")?.heap;
    expect(heap?.size ?? 0).toBeLessThan(2_000);
    expect(drain(queue)).toEqual(["stays"]);
  });
});
