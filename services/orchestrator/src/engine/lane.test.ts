import { describe, expect, it } from "vitest";
import type { LiveSpec } from "../domain/live-task.ts";
import type { RoutingNeed } from "../domain/routing.ts";
import { fakeTask } from "./engine.fake.ts";
import { COMPARED_MAX, type Lane } from "./lane.ts";
import { laneKey, needOf, ReadyQueue } from "./ready-queue.ts";

const KEY = laneKey("default", "x");

/** A queue with one task of each spec. */
function fill(specs: readonly Partial<LiveSpec>[]): ReadyQueue {
  const queue = new ReadyQueue();
  for (const [index, spec] of specs.entries()) queue.add(fakeTask({ key: `t${index}` }, spec), 0);
  return queue;
}

function laneOf(queue: ReadyQueue): Lane {
  const lane = queue.lane(KEY);
  if (lane === undefined) throw new Error("no lane");
  return lane;
}

/** Sets every open class aside, and says which tasks were their best. */
function setAllAside(queue: ReadyQueue, sure = true): string[] {
  const lane = laneOf(queue);
  const keys: string[] = [];
  for (let best = queue.best(lane); best !== undefined; best = queue.best(lane)) {
    keys.push(best.task.key);
    lane.setAside(best.group, needOf(best.task), sure);
  }
  return keys;
}

/** What an agent is compared with when it changes; it fits nothing. */
function comparedWith(lane: Lane, labels: Record<string, string>): RoutingNeed[] {
  const needs: RoutingNeed[] = [];
  lane.reopenFor(labels, (need) => needs.push(need) === 0);
  return needs;
}

const sessions = (count: number) =>
  Array.from({ length: count }, (_, i) => ({ requiredLabels: { env: "prod", session: `s${i}` } }));

describe("Lane", () => {
  it("offers each class once, best first, and one that is set aside only for a better task", () => {
    const queue = fill(sessions(5));
    expect(setAllAside(queue)).toEqual(["t0", "t1", "t2", "t3", "t4"]);
    expect(laneOf(queue).isOpen).toBe(false);
    queue.add(fakeTask({ key: "more" }, sessions(1)[0]), 0);
    expect(setAllAside(queue)).toEqual([]);
    expect(queue.hasWaiting(KEY)).toBe(true);
    queue.add(fakeTask({ key: "urgent", priority: 9 }, sessions(1)[0]), 0);
    expect(setAllAside(queue)).toEqual(["urgent"]);
  });

  it("offers the best of a class whatever came and went before", () => {
    const queue = new ReadyQueue();
    const tasks = [1, 9, 5].map((priority) => fakeTask({ key: `p${priority}`, priority }));
    for (const task of tasks) queue.add(task, 0);
    queue.add(fakeTask({ key: "other", priority: 7 }, { versionRange: "^1.0.0" }), 0);
    queue.remove(tasks[1]?.taskId ?? "");
    expect(queue.best(laneOf(queue))?.task.key).toBe("other");
    expect(setAllAside(queue)).toEqual(["other", "p5"]);
  });

  it("opens for an agent what it fits", () => {
    const queue = fill(sessions(3));
    setAllAside(queue);
    queue.add(fakeTask({ key: "later" }, sessions(3)[1]), 0);
    laneOf(queue).reopenFor({ env: "prod", session: "s1" }, ({ requiredLabels }) => {
      return requiredLabels["session"] === "s1";
    });
    expect(setAllAside(queue)).toEqual(["t1"]);
  });

  it("compares an agent only with classes that require no label, or a rare one of its own", () => {
    const queue = fill([...sessions(300), { versionRange: "^9.0.0" }]);
    setAllAside(queue);
    const lane = laneOf(queue);
    expect(comparedWith(lane, { env: "test" })).toHaveLength(1);
    expect(comparedWith(lane, { env: "prod", session: "s7" }).length).toBeLessThan(5);
  });

  it("compares one agent with a bounded number of classes, and comes to each in turn", () => {
    const queue = fill(
      Array.from({ length: 3 * COMPARED_MAX }, (_, i) => ({ versionRange: `^9.${i}.0` })),
    );
    setAllAside(queue);
    const seen = new Set<RoutingNeed>();
    for (let i = 0; i < 3; i += 1) {
      const needs = comparedWith(laneOf(queue), {});
      expect(needs).toHaveLength(COMPARED_MAX);
      for (const need of needs) seen.add(need);
    }
    expect(seen.size).toBe(3 * COMPARED_MAX);
  });

  it("leaves what requires one label its part beside any number that require another", () => {
    const zone = { requiredLabels: { zone: "x" } };
    const queue = fill([
      ...Array.from({ length: 8 * COMPARED_MAX }, (_, i) => ({
        ...zone,
        versionRange: `^9.${i}.0`,
      })),
      { requiredLabels: { gpu: "1" } },
      {},
    ]);
    setAllAside(queue);
    const needs = comparedWith(laneOf(queue), { zone: "x", gpu: "1" });
    expect(needs.length).toBeLessThanOrEqual(COMPARED_MAX + 3);
    expect(needs.filter(({ requiredLabels }) => requiredLabels["gpu"] === "1")).toHaveLength(1);
    expect(needs.filter(({ requiredLabels }) => !("zone" in requiredLabels))).toHaveLength(2);
  });

  it("opens one class for any agent that changes, where not all agents were looked at", () => {
    const queue = fill(sessions(3));
    setAllAside(queue, false);
    laneOf(queue).reopenFor({}, () => false);
    expect(setAllAside(queue, false)).toEqual(["t0"]);
    laneOf(queue).reopenFor({}, () => false);
    expect(setAllAside(queue, false)).toEqual(["t1"]);
  });

  it("tries classes again in turn, a bounded number at once", () => {
    const queue = fill(sessions(10));
    setAllAside(queue);
    laneOf(queue).reopenSome(8);
    expect(setAllAside(queue)).toHaveLength(8);
    laneOf(queue).reopenSome(8);
    const next = setAllAside(queue);
    expect(next).toContain("t8");
    expect(next).toContain("t9");
  });

  it("is gone with its last task, though its class was set aside", () => {
    const queue = new ReadyQueue();
    const task = fakeTask({}, sessions(1)[0]);
    queue.add(task, 0);
    setAllAside(queue);
    queue.remove(task.taskId);
    laneOf(queue).reopenSome(1);
    expect(queue.best(laneOf(queue))).toBeUndefined();
    expect(queue.lane(KEY)).toBeUndefined();
  });

  it("does not remember classes whose tasks are gone, when nobody ever looks", () => {
    const queue = new ReadyQueue();
    for (let i = 0; i < 5_000; i += 1) {
      const task = fakeTask({}, { requiredLabels: { session: `s${i}` } });
      queue.add(task, 0);
      queue.remove(task.taskId);
    }
    expect(queue.lane(KEY)?.classes.size ?? 0).toBeLessThan(2_000);
  });
});
