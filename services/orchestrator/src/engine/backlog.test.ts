import { MiB, NexusError } from "@nexus/shared";
import { describe, expect, it } from "vitest";
import { BLOCKED_TASK_BYTES } from "../domain/waiting-task.ts";
import { Backlog, type BacklogLimits } from "./backlog.ts";
import { fakeTask } from "./engine.fake.ts";
import { PausedJobs } from "./paused-jobs.ts";
import { ReadyQueue } from "./ready-queue.ts";

function setUp(limits: Partial<BacklogLimits> = {}) {
  const queue = new ReadyQueue();
  const paused = new PausedJobs();
  const time = { nowMs: 0, chance: 0 };
  const owned = { share: 1 };
  const backlog = new Backlog({
    queue,
    paused,
    limits: {
      waitingTasksMax: 10,
      namespaceWaitingTasksMax: 6,
      waitingMemoryMibMax: 16,
      ...limits,
    },
    share: () => owned.share,
    random: () => time.chance,
    nowMs: () => time.nowMs,
  });
  const fill = (count: number, namespace = "default") => {
    const tasks = Array.from({ length: count }, () => fakeTask({ namespace }));
    for (const task of tasks) queue.add(task, 0);
    return tasks;
  };
  return { queue, paused, time, owned, backlog, fill };
}

/** The refusal of a submission. */
function refusal(backlog: Backlog, namespace: string, tasks: number): NexusError {
  try {
    backlog.reserve(namespace, tasks);
  } catch (error) {
    if (NexusError.is(error, "exhausted", "QUEUE_FULL")) return error;
  }
  throw new Error("not refused");
}

describe("Backlog", () => {
  it("counts what waits for an agent, what waits for other tasks, and what is on its way", () => {
    const { backlog, fill } = setUp();
    fill(2);
    backlog.addBlocked("default", 2);
    backlog.reserve("default", 2);
    expect(refusal(backlog, "default", 1).message).toMatch(/^6 tasks of the namespace/);
    backlog.reserve("other", 4);
    expect(refusal(backlog, "third", 1).message).toMatch(/^10 tasks wait already/);
    backlog.release("default", 2);
    backlog.reserve("third", 2);
    backlog.release("third", 2);
    backlog.removeBlocked(new Map([["default", 1]]));
    expect(backlog.blocked).toBe(1);
    backlog.reserve("default", 3);
  });

  it("counts what paused jobs withhold, by number and by memory, and says so", () => {
    const { backlog, paused, fill } = setUp();
    fill(2);
    paused.add({ jobId: "a", namespace: "default", tasks: 3 });
    expect(refusal(backlog, "default", 2).message).toMatch(
      /^5 tasks of the namespace wait .*, 3 of them in paused jobs; at most 6 may/,
    );
    expect(refusal(backlog, "other", 6).message).toMatch(
      /^5 tasks wait .*, 3 of them in paused jobs; at most 10 may/,
    );
    paused.delete("a");
    backlog.reserve("default", 4);
    const many = { waitingTasksMax: 1_000_000, namespaceWaitingTasksMax: 1_000_000 };
    const large = setUp(many);
    const fitting = Math.floor((16 * MiB) / BLOCKED_TASK_BYTES);
    large.paused.add({ jobId: "a", namespace: "default", tasks: fitting });
    expect(refusal(large.backlog, "other", 1).message).toContain("16 MiB");
  });

  it("lets a replica have the part of each limit that it has of all jobs, and one task at least", () => {
    const { backlog, fill, owned } = setUp({ waitingTasksMax: 96, namespaceWaitingTasksMax: 48 });
    owned.share = 21 / 64;
    fill(15);
    backlog.reserve("default", 1);
    expect(refusal(backlog, "default", 1).message).toContain("at most 16 may");
    backlog.reserve("other", 15);
    expect(refusal(backlog, "third", 2).message).toContain("at most 32 may");
    owned.share = 22 / 64;
    backlog.reserve("default", 1);
    owned.share = 0;
    refusal(backlog, "third", 1);
    const empty = setUp();
    empty.owned.share = 0.01;
    empty.backlog.reserve("default", 1);
    refusal(empty.backlog, "default", 1);
  });

  it("leaves other namespaces their room when one is full", () => {
    const { backlog, fill } = setUp();
    fill(6, "greedy");
    refusal(backlog, "greedy", 1);
    backlog.reserve("modest", 4);
  });

  it("takes its counts anew after a load", () => {
    const { backlog, queue, fill } = setUp();
    fill(6);
    backlog.addBlocked("default", 3);
    queue.clear();
    backlog.clearBlocked();
    backlog.addAllBlocked(new Map([["default", 1]]));
    expect(backlog.blocked).toBe(1);
    backlog.reserve("default", 5);
    refusal(backlog, "default", 1);
  });

  it("frees room when tasks leave, delayed ones, too, and counts a replaced one once", () => {
    const { backlog, queue, fill } = setUp();
    const [first] = fill(5);
    const delayed = fakeTask();
    queue.addDelayed(delayed, 100);
    queue.addDelayed(delayed, 200);
    refusal(backlog, "default", 1);
    queue.take(first?.taskId ?? "");
    queue.remove(delayed.taskId);
    backlog.reserve("default", 2);
    refusal(backlog, "default", 1);
  });

  it("says to come back when there will be room, as fast as the backlog drains", () => {
    const { backlog, queue, time, fill } = setUp({
      namespaceWaitingTasksMax: 100,
      waitingTasksMax: 200,
    });
    const tasks = fill(100);
    expect(refusal(backlog, "default", 10).details.retryAfterMs).toBe(1_000);
    time.nowMs = 2_000;
    for (const task of tasks.slice(0, 8)) queue.take(task.taskId);
    fill(8);
    // 8 left in 2 seconds, 10 are too many.
    expect(refusal(backlog, "default", 10).details.retryAfterMs).toBe(2_500);
    time.chance = 0.5;
    expect(refusal(backlog, "default", 10).details.retryAfterMs).toBe(2_750);
    time.chance = 0;
    expect(refusal(backlog, "default", 100).details.retryAfterMs).toBe(25_000);
    time.nowMs = 40_000;
    refusal(backlog, "default", 1);
    time.nowMs = 50_000;
    expect(refusal(backlog, "default", 1).details.retryAfterMs).toBe(60_000);
  });

  it("refuses by memory when tasks are larger than most", () => {
    const { backlog, queue } = setUp({
      waitingTasksMax: 1_000_000,
      namespaceWaitingTasksMax: 1_000_000,
    });
    backlog.reserve("default", 10_000);
    for (let i = 0; i < 500; i += 1) {
      queue.add(fakeTask({}, { requiredLabels: { k: `${i}`.padEnd(12_000, "v") } }), 0);
    }
    expect(refusal(backlog, "other", 1).message).toContain("16 MiB");
    queue.clear();
    backlog.reserve("other", 1);
  });

  it("lets a replica have the part of the memory that it has of all jobs", () => {
    const { backlog, owned } = setUp({
      waitingTasksMax: 1_000_000,
      namespaceWaitingTasksMax: 1_000_000,
    });
    const fitting = (16 * MiB) / BLOCKED_TASK_BYTES;
    owned.share = 0.5;
    expect(refusal(backlog, "default", fitting).message).toContain("8 MiB");
    owned.share = 1;
    backlog.reserve("default", Math.floor(fitting));
  });

  it("lets what is in it grow by a quarter beyond what may be submitted", () => {
    const { backlog, fill } = setUp();
    fill(6);
    refusal(backlog, "default", 1);
    expect(backlog.findNoRoomToGrow("default", 2)).toBeUndefined();
    expect(backlog.findNoRoomToGrow("default", 3)).toMatch(/^6 tasks of the namespace/);
    backlog.hold("default", 2);
    expect(backlog.findNoRoomToGrow("default", 1)).toBeDefined();
    backlog.release("default", 2);
    expect(backlog.findNoRoomToGrow("default", 2)).toBeUndefined();
  });
});
