import { createSilentLogger, KiB, MiB, NexusError } from "@nexus/shared";
import { describe, expect, it } from "vitest";
import type { EngineEvents } from "../domain/ports.ts";
import type { ChunkRow } from "../store/chunk-store.ts";
import { ChunkWriter } from "./chunk-writer.ts";

const UNAVAILABLE = new NexusError({
  kind: "unavailable",
  reason: "DATABASE_UNAVAILABLE",
  message: "away",
});

/** A database that answers when it is told to, and keeps what it was asked to store. */
class FakeDatabase {
  readonly stored: string[] = [];
  #waiting: { resolve(): void; reject(error: Error): void }[] = [];

  query(_statement: unknown, values: readonly unknown[]): Promise<unknown> {
    const [, fences, sequences, data] = values as [string[], string[], string[], unknown[]];
    const rows = sequences.map((n, i) => `${fences[i]}/${n}${data[i] === null ? " marker" : ""}`);
    return new Promise((resolve, reject) => {
      this.#waiting.push({
        resolve: () => {
          this.stored.push(...rows);
          resolve({ rows: [] });
        },
        reject,
      });
    });
  }

  async answer(error?: Error): Promise<void> {
    while (this.#waiting.length === 0) await new Promise((resolve) => setImmediate(resolve));
    const next = this.#waiting.shift();
    if (error === undefined) next?.resolve();
    else next?.reject(error);
  }
}

function createWriter() {
  const database = new FakeDatabase();
  const drops: string[] = [];
  const events: Partial<EngineEvents> = {
    flushed: () => undefined,
    flushFailed: () => undefined,
    updateDropped: (why) => drops.push(why),
  };
  const writer = new ChunkWriter({
    pool: database as unknown as ConstructorParameters<typeof ChunkWriter>[0]["pool"],
    events: events as EngineEvents,
    logger: createSilentLogger(),
  });
  return { database, drops, writer };
}

function row(sequence: number, fence = 7n, data = new Uint8Array([1])): ChunkRow {
  return {
    taskId: "task_00000000000000000000000000000001",
    fence,
    sequence: BigInt(sequence),
    data,
  };
}

describe("ChunkWriter", () => {
  it("stores in order, and shows what may not be stored yet", async () => {
    const { database, writer } = createWriter();
    for (const sequence of [1, 2, 3]) writer.add(row(sequence));
    writer.add(row(1, 9n));
    const pending = writer.pendingOf(row(1).taskId, 7n);
    expect(pending.map(({ sequence }) => sequence)).toEqual([1n, 2n, 3n]);
    await database.answer();
    await writer.close();
    expect(database.stored).toEqual(["7/1", "7/2", "7/3", "9/1"]);
    expect(writer.pendingOf(row(1).taskId, 7n)).toEqual([]);
  });

  it("tries again while the database is away, and keeps the order", async () => {
    const { database, drops, writer } = createWriter();
    writer.add(row(1));
    await database.answer(UNAVAILABLE);
    writer.add(row(2));
    await database.answer(UNAVAILABLE);
    await database.answer();
    await database.answer();
    await writer.close();
    expect(database.stored).toEqual(["7/1", "7/2"]);
    expect(drops).toEqual([]);
  });

  it("drops what does not fit into its queue, and stores where that began", async () => {
    const { database, drops, writer } = createWriter();
    const large = new Uint8Array(64 * KiB);
    const fits = (32 * MiB) / large.byteLength;
    const sequences = Array.from({ length: fits + 3 }, (_, i) => i + 1);
    for (const sequence of sequences) writer.add(row(sequence, 7n, large));
    expect(drops).toHaveLength(3);
    const closed = writer.close();
    let done = false;
    void closed.then(() => {
      done = true;
    });
    while (!done) await Promise.race([database.answer(), closed]);
    const marker = `7/${fits + 1} marker`;
    expect(database.stored.filter((text) => text.endsWith("marker"))).toEqual([marker]);
    expect(database.stored).toHaveLength(fits + 1);
  });

  it("says what it had to give up when the database refuses a batch", async () => {
    const { database, drops, writer } = createWriter();
    writer.add(row(1));
    await database.answer(new Error("no"));
    while (drops.length === 0) await new Promise((resolve) => setImmediate(resolve));
    writer.add(row(2));
    await database.answer();
    await writer.close();
    expect(database.stored).toEqual(["7/1 marker", "7/2"]);
  });

  it("keeps saying it until it is stored, also when the batch that should have said it was about others", async () => {
    const { database, drops, writer } = createWriter();
    const full = new NexusError({ kind: "exhausted", reason: "DATABASE_FULL", message: "full" });
    const other = { ...row(1), taskId: "task_00000000000000000000000000000002" };
    writer.add(row(1));
    await database.answer(full);
    while (drops.length < 1) await new Promise((resolve) => setImmediate(resolve));
    writer.add(other);
    await database.answer(full);
    while (drops.length < 2) await new Promise((resolve) => setImmediate(resolve));
    writer.add(row(2));
    await database.answer();
    await writer.close();
    expect(database.stored).toEqual(["7/1 marker", "7/1 marker", "7/2"]);
  });
});
