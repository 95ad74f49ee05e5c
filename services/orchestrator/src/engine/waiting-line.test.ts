import { describe, expect, it } from "vitest";
import { isWaitingBefore, TaskPacker, type WaitingTask } from "../domain/waiting-task.ts";
import { fakeTask } from "./engine.fake.ts";
import { WaitingLine } from "./waiting-line.ts";

/** Submissions of a few tasks each, some of one moment, and some urgent. */
function submissions(count: number): WaitingTask[][] {
  const packer = new TaskPacker();
  return Array.from({ length: count }, (_, i) => {
    const common = {
      jobId: `job_${i}`,
      readyAtMs: Math.floor(i / 3),
      priority: i % 7 === 0 ? 1 : 0,
    };
    return Array.from({ length: 1 + (i % 5) }, () => packer.pack(fakeTask(common), 0));
  });
}

/** Deals several hands of cards into one, a card of each in turn. */
function shuffle<T>(hands: readonly (readonly T[])[]): T[] {
  const most = Math.max(...hands.map((hand) => hand.length));
  return Array.from({ length: most }, (_, i) =>
    hands.flatMap((hand) => hand.slice(i, i + 1)),
  ).flat();
}

function sorted(tasks: readonly WaitingTask[]): WaitingTask[] {
  return [...tasks].sort((a, b) => (isWaitingBefore(a, b) ? -1 : 1));
}

function drain(line: WaitingLine): WaitingTask[] {
  const out: WaitingTask[] = [];
  for (let task = line.pop(); task !== undefined; task = line.pop()) out.push(task);
  return out;
}

describe("WaitingLine", () => {
  it.each([
    ["one submission after the other", submissions(40).flat()],
    ["submissions that come in each other's way", shuffle(submissions(40))],
    ["the last task of each first", submissions(40).flat().reverse()],
  ])("gives tasks back in order: %s", (_what, tasks) => {
    const line = new WaitingLine();
    for (const task of tasks) line.push(task);
    expect(line.size).toBe(tasks.length);
    expect(line.peek()).toBe(sorted(tasks)[0]);
    expect(drain(line)).toEqual(sorted(tasks));
    expect([line.size, line.peek(), line.pop()]).toEqual([0, undefined, undefined]);
  });

  it("keeps order while tasks come and go, and takes those back that went", () => {
    const line = new WaitingLine();
    let model: WaitingTask[] = [];
    for (const [i, task] of submissions(60).flat().entries()) {
      line.push(task);
      model = sorted([...model, task]);
      if (i % 3 === 0) continue;
      const gone = line.pop() as WaitingTask;
      expect(gone).toBe(model.shift());
      if (i % 4 !== 0) continue;
      line.push(gone);
      model.unshift(gone);
    }
    expect(drain(line)).toEqual(model);
  });

  it("keeps what passes a filter, in order", () => {
    const line = new WaitingLine();
    const tasks = submissions(30).flat();
    for (const task of tasks) line.push(task);
    const kept = new Set(tasks.filter((_, i) => i % 3 !== 0));
    line.filter((task) => kept.has(task));
    expect(line.size).toBe(kept.size);
    expect(drain(line)).toEqual(sorted([...kept]));
  });
});
