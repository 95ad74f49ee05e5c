import type { Namespace } from "@nexus/shared";
import { describe, expect, it } from "vitest";
import type { RevocationReader } from "./ports.ts";
import type { RevocationRecord } from "./revocation.ts";
import type { RevocationBatch } from "./revocation-log.ts";
import { REVOCATION_BATCH_MAX, RevocationLog } from "./revocation-log.ts";

const record = (revision: number, expireTimeMs = 1000): RevocationRecord => ({
  target: "token",
  namespace: "default" as Namespace,
  id: `tok_${revision}`,
  revision: BigInt(revision),
  revokeTimeMs: 1,
  expireTimeMs,
});

/** A table in memory whose reads can be held back. */
function createTable() {
  const rows: RevocationRecord[] = [];
  let gate: Promise<void> = Promise.resolve();
  const reader: RevocationReader = {
    async after(revision, limit) {
      const page = rows.filter((row) => row.revision > revision).slice(0, limit);
      await gate;
      return page;
    },
  };
  const hold = () => {
    let release: () => void = () => undefined;
    gate = new Promise((resolve) => {
      release = resolve;
    });
    return () => {
      gate = Promise.resolve();
      release();
    };
  };
  return { rows, reader, hold };
}

async function next(stream: AsyncGenerator<RevocationBatch, void>): Promise<RevocationBatch> {
  const result = await stream.next();
  if (result.done === true) throw new Error("the stream ended");
  return result.value;
}

describe("RevocationLog", () => {
  it("sends all in force first, at once, and then what comes", async () => {
    const { rows, reader } = createTable();
    rows.push(record(1), record(2));
    const heard: bigint[] = [];
    const log = new RevocationLog(reader, (records) =>
      heard.push(...records.map((r) => r.revision)),
    );
    await log.refresh();
    const stream = log.follow(0n, new AbortController().signal);
    expect(await next(stream)).toEqual({ revision: 2n, records: rows });
    rows.push(record(3));
    const waiting = next(stream);
    await log.refresh();
    expect((await waiting).records.map((r) => r.revision)).toEqual([3n]);
    expect(heard).toEqual([1n, 2n, 3n]);
  });

  it("resumes after a revision, and starts anew for one from before a restored backup", async () => {
    const { rows, reader } = createTable();
    rows.push(record(1), record(2), record(3));
    const log = new RevocationLog(reader);
    await log.refresh();
    const { signal } = new AbortController();
    expect((await next(log.follow(2n, signal))).records).toEqual([rows[2]]);
    expect((await next(log.follow(3n, signal))).records).toEqual([]);
    expect((await next(log.follow(900n, signal))).records).toEqual(rows);
  });

  it("sends at most a full batch at a time and ends with a shorter one", async () => {
    const { rows, reader } = createTable();
    for (let i = 1; i <= REVOCATION_BATCH_MAX + 3; i++) rows.push(record(i));
    const log = new RevocationLog(reader);
    await log.refresh();
    const stream = log.follow(0n, new AbortController().signal);
    expect((await next(stream)).records.length).toBe(REVOCATION_BATCH_MAX);
    expect((await next(stream)).records.length).toBe(3);
  });

  it("gives a sign of life when beaten, and ends when the watcher leaves", async () => {
    const { reader } = createTable();
    const log = new RevocationLog(reader);
    const leaving = new AbortController();
    const stream = log.follow(0n, leaving.signal);
    await next(stream);
    const waiting = next(stream);
    log.beat();
    expect(await waiting).toEqual({ revision: 0n, records: [] });
    const last = stream.next();
    leaving.abort();
    expect((await last).done).toBe(true);
  });

  it("misses nothing that is committed while a batch is being sent", async () => {
    const { rows, reader } = createTable();
    const log = new RevocationLog(reader);
    const stream = log.follow(0n, new AbortController().signal);
    await next(stream);
    rows.push(record(1));
    await log.refresh();
    expect((await next(stream)).records).toEqual(rows);
  });

  it("reads again for a commit that came while it was reading", async () => {
    const { rows, reader, hold } = createTable();
    const log = new RevocationLog(reader);
    const release = hold();
    const early = log.refresh();
    rows.push(record(1));
    const late = log.refresh();
    release();
    await early;
    await late;
    expect(log.head).toBe(1n);
  });

  it("forgets what has ended", async () => {
    const { rows, reader } = createTable();
    rows.push(record(1, 10), record(2, 99));
    const log = new RevocationLog(reader);
    await log.refresh();
    log.prune(50);
    expect(log.size).toBe(1);
    expect(log.head).toBe(2n);
  });
});
