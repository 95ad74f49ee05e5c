import { createSilentLogger } from "@nexus/shared";
import { describe, expect, it } from "vitest";
import { SHARDS, shardOf } from "../domain/shards.ts";
import { fakeTask } from "./engine.fake.ts";
import type { EngineParts } from "./parts.ts";
import { ReadyQueue } from "./ready-queue.ts";
import { WaitingAudit } from "./waiting-audit.ts";

const LOOK_JOBS = 1_000;

/** Tables in which so much waits that the audit never gets to the end of it, and of which one task can be lost from memory. */
function setUp() {
  const queue = new ReadyQueue();
  const task = fakeTask();
  queue.add(task, 0);
  const shard = shardOf(task.taskId);
  const uuid = task.taskId.slice("task_".length);
  const inFlight = { count: 0 };
  let reloads = 0;
  let extra = 0;
  const answers: Record<string, (values: readonly unknown[]) => unknown[]> = {
    "waiting-in-shards": () => [{ shard, ready: 1 + extra }],
    "waiting-open-jobs": ([shards]) =>
      (shards as number[]).length === 1
        ? [{ shard, job_id: uuid, total: 1 }]
        : Array.from({ length: LOOK_JOBS }, () => ({ shard: 0, job_id: "other", total: 1 })),
    "waiting-of-jobs": ([jobs]) =>
      (jobs as string[])[0] === uuid ? [{ task_id: uuid, attempts: 0 }] : [],
    "waiting-among": ([ids]) => (ids as string[]).map((id) => ({ task_id: id, attempts: 0 })),
    "recount-miscounted": () => [],
  };
  let shardReads = 0;
  const parts = {
    queue,
    pool: {
      query: async ({ name }: { name: string }, values: readonly unknown[]) => {
        const isShard = name === "waiting-open-jobs" && (values[0] as number[]).length === 1;
        if (isShard) shardReads += 1;
        return { rows: answers[name]?.(values) };
      },
    },
    ledger: {
      ownership: "owner",
      owns: () => true,
      shards: new Map(Array.from({ length: SHARDS }, (_, i) => [i, 1n])),
      reload: () => {
        reloads += 1;
      },
    },
    tallies: { generation: 1 },
    logger: createSilentLogger(),
  };
  const audit = new WaitingAudit({
    parts: parts as unknown as EngineParts,
    claimer: { inFlightIn: () => inFlight.count },
    settler: { follow: () => undefined },
  });
  return {
    ...{ queue, task, audit, inFlight },
    /** So many tasks beside the one are stored and not known. */
    store(count: number) {
      extra = count;
    },
    reloads: () => reloads,
    /** How often a shard of which more is stored than known was read. */
    shardReads: () => shardReads,
    async look(times: number) {
      for (let i = 0; i < times; i += 1) await audit.look();
    },
  };
}

describe("WaitingAudit", () => {
  it("finds a task that memory has lost in a few looks, however much waits", async () => {
    const t = setUp();
    await t.look(20);
    expect(t.reloads()).toBe(0);
    t.queue.remove(t.task.taskId);
    await t.look(5);
    expect(t.reloads()).toBe(1);
    await t.look(1);
    expect(t.reloads()).toBe(1);
  });

  it("takes no task for lost that is on its way into a lease, or that is stored at this moment", async () => {
    const t = setUp();
    t.queue.take(t.task.taskId);
    t.inFlight.count = 1;
    await t.look(10);
    expect(t.reloads()).toBe(0);
    t.queue.add(t.task, 0);
    t.inFlight.count = 0;
    t.store(1);
    await t.look(3);
    t.store(0);
    await t.look(10);
    expect(t.reloads()).toBe(0);
    expect(t.shardReads()).toBe(0);
  });

  it("reads a shard of which more is stored than known only when it was counted so twice in a row", async () => {
    const t = setUp();
    t.store(1);
    await t.look(2);
    expect(t.shardReads()).toBe(0);
    t.store(0);
    await t.look(2);
    t.store(1);
    await t.look(2);
    expect(t.shardReads()).toBe(0);
    await t.look(2);
    expect(t.shardReads()).toBe(1);
  });
});
