import type { Pool } from "@nexus/postgres";
import { createIds, createSilentLogger, KiB } from "@nexus/shared";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { EngineEvents } from "../src/domain/ports.ts";
import type { StreamChunk } from "../src/domain/task-stream.ts";
import type { LiveLease } from "../src/engine/agent-entry.ts";
import { addAgent, fakeFleet, fakeLease, fakeTask } from "../src/engine/engine.fake.ts";
import {
  CHUNK_BYTES_KEPT_MAX,
  CHUNKS_KEPT_MAX,
  TASK_WATCHERS_MAX,
  TaskStreams,
} from "../src/engine/task-streams.ts";
import { readChunks } from "../src/store/chunk-store.ts";
import { type OpenDatabase, openDatabase } from "./_database.ts";

const ids = createIds();
let open: OpenDatabase;
let pool: Pool;

beforeAll(async () => {
  open = await openDatabase();
  pool = open.pool;
});
afterAll(() => open.close());

const EVENTS: Partial<EngineEvents> = {
  flushed: () => undefined,
  flushFailed: () => undefined,
  updateDropped: () => undefined,
};

function openStreams(): TaskStreams {
  return new TaskStreams({ pool, events: EVENTS as EngineEvents, logger: createSilentLogger() });
}

function lease(): LiveLease {
  const live = fakeLease(addAgent(fakeFleet(), "ann"), 1n);
  return { ...live, lease: { ...live.lease, task: fakeTask({ taskId: ids.next("task") }) } };
}

async function readAll({ lease }: LiveLease, limits = { items: 512, bytes: 1_048_576 }) {
  const { fence, task } = lease;
  const all: StreamChunk[] = [];
  for (let after = 0n; ; ) {
    const place = { taskId: task.taskId, fence, after };
    const page = await readChunks(pool, place, limits);
    all.push(...page);
    const last = page.at(-1);
    if (last === undefined) return all;
    after = last.sequence;
  }
}

describe("the chunks of an attempt", () => {
  it("are kept up to their number, and then it is stored that no more were", async () => {
    const streams = openStreams();
    const live = lease();
    for (let n = 1; n <= CHUNKS_KEPT_MAX + 5; n += 1) {
      expect(streams.onChunk(live, BigInt(n), Buffer.from([n % 256]))).toBe(true);
    }
    await streams.close();
    const kept = await readAll(live);
    expect(kept).toHaveLength(CHUNKS_KEPT_MAX + 1);
    expect(
      kept.slice(0, -1).every(({ data, sequence }, i) => sequence === BigInt(i + 1) && data),
    ).toBe(true);
    expect(kept.at(-1)).toEqual({
      fence: live.lease.fence,
      sequence: BigInt(CHUNKS_KEPT_MAX + 1),
      data: undefined,
    });
  });

  it("are kept up to their bytes, and read in pages that hold no more than asked for", async () => {
    const streams = openStreams();
    const live = lease();
    const large = Buffer.alloc(64 * KiB, 1);
    const fits = CHUNK_BYTES_KEPT_MAX / large.byteLength;
    for (let n = 1; n <= fits + 2; n += 1) streams.onChunk(live, BigInt(n), large);
    await streams.close();
    const place = { taskId: live.lease.task.taskId, fence: live.lease.fence, after: 0n };
    const page = await readChunks(pool, place, { items: 512, bytes: 5 * large.byteLength });
    expect(page.map(({ sequence }) => Number(sequence))).toEqual([1, 2, 3, 4, 5]);
    const kept = await readAll(live);
    expect(kept.filter(({ data }) => data !== undefined)).toHaveLength(fits);
    expect(kept.at(-1)).toMatchObject({ sequence: BigInt(fits + 1), data: undefined });
  });

  it("reach nobody when they come again or out of order", async () => {
    const streams = openStreams();
    const live = lease();
    const { items, close } = streams.subscribe(live.lease.task.taskId);
    const taken = [1n, 2n, 2n, 1n, 4n, 3n].map((n) => streams.onChunk(live, n, Buffer.from("x")));
    expect(taken).toEqual([true, true, false, false, true, false]);
    expect(items.size).toBe(3);
    close();
    await streams.close();
    expect((await readAll(live)).map(({ sequence }) => sequence)).toEqual([1n, 2n, 4n]);
  });

  it("are seen at any moment, waiting or stored", async () => {
    const streams = openStreams();
    const live = lease();
    const { taskId } = live.lease.task;
    streams.onChunk(live, 1n, Buffer.from("x"));
    expect(streams.pendingOf(taskId, live.lease.fence).map(({ sequence }) => sequence)).toEqual([
      1n,
    ]);
    expect(streams.pendingOf(taskId, live.lease.fence + 1n)).toEqual([]);
    await streams.close();
    expect(streams.pendingOf(taskId, live.lease.fence)).toEqual([]);
    expect(await readAll(live)).toHaveLength(1);
  });
});

describe("the watchers of tasks", () => {
  it("are no more than the limit, and leave room when they go", () => {
    const streams = openStreams();
    const all = Array.from({ length: TASK_WATCHERS_MAX }, (_, i) => streams.subscribe(`t${i}`));
    expect(() => streams.subscribe("one more")).toThrow(/limit of 1000 watchers/);
    all[0]?.close();
    streams.subscribe("one more").close();
    for (const { close } of all) close();
    expect(streams.size).toBe(0);
  });
});
