import { describe, expect, it } from "vitest";
import { createEntry, type Entry } from "./entry.ts";
import { KeyMemory } from "./key-memory.ts";
import { REMEMBERED_VALUE_BYTES_MAX } from "./state-limits.ts";

const ORIGIN = { principalId: "alice", taskId: "", fence: 0n, traceId: "", atMs: 1 };

function entryOf(key: string, bytes = 10, more: Partial<Entry> = {}): Entry {
  const version = { id: 1n, contentType: "", data: Buffer.alloc(bytes), origin: ORIGIN };
  const init = { key, revision: 1n, versions: [version], time: undefined, deleted: false };
  return { ...createEntry({ ...init, origin: ORIGIN }), ...more };
}

/** Keys that are told as they are at a revision. */
function told(revision: bigint, keys: readonly string[], nextRevision = revision, bucketId = 1n) {
  const rows = keys.map((key) => [key, entryOf(key)] as const);
  return { bucketId, revision, nextRevision, rows };
}

function keysOf(memory: KeyMemory, name = "b"): string[] {
  return [...(memory.recall(name)?.entries.keys() ?? [])];
}

describe("a replica's memory of keys", () => {
  it("goes on with what follows the revision at which it is, and forgets the keys of an earlier one", () => {
    const memory = new KeyMemory();
    memory.learn("b", told(5n, ["a"], 6n));
    memory.learn("b", told(6n, ["b"], 9n));
    expect(memory.recall("b")).toMatchObject({ revision: 9n });
    expect(keysOf(memory)).toEqual(["a", "b"]);
    memory.learn("b", told(10n, ["c"], 11n));
    expect(keysOf(memory)).toEqual(["c"]);
  });

  it("takes nothing from somebody who read before its last commit", () => {
    const memory = new KeyMemory();
    memory.learn("b", told(5n, ["a"], 7n));
    memory.learn("b", told(6n, ["old"]));
    expect(keysOf(memory)).toEqual(["a"]);
    expect(memory.recall("b")?.revision).toBe(7n);
  });

  it("keeps what is read at the second look that finds the bucket where it was, and not beside a commit", () => {
    const memory = new KeyMemory();
    const look = (revision: bigint, key: string) =>
      memory.notice("b", { bucketId: 1n, revision }, [entryOf(key)]);
    look(5n, "a");
    expect(keysOf(memory)).toEqual([]);
    look(5n, "a");
    look(6n, "b");
    expect(keysOf(memory)).toEqual([]);
    memory.learn("b", told(6n, ["c"], 7n));
    const release = memory.hold("b");
    look(8n, "d");
    memory.learn("b", told(7n, ["d"], 8n));
    release();
    expect(keysOf(memory)).toEqual(["c", "d"]);
  });

  it("answers for all keys at a revision that was seen, or a later one of its own, or not at all", () => {
    const memory = new KeyMemory();
    memory.learn("b", told(5n, ["a", "b"], 6n));
    const rows = [["ends", entryOf("ends", 1, { expiresAtMs: 100 })] as const];
    memory.learn("b", { bucketId: 1n, revision: 6n, nextRevision: 7n, rows });
    const at = (revision: bigint, keys: readonly string[], nowMs = 0, bucketId = 1n) =>
      memory
        .recallAt("b", keys, { bucketId, policy: "lww", revision, nowMs })
        ?.map(({ key }) => key);
    expect(at(7n, ["a", "b"])).toEqual(["a", "b"]);
    expect(at(6n, ["a"])).toEqual(["a"]);
    expect(at(8n, ["a"])).toBeUndefined();
    expect(at(7n, ["a", "c"])).toBeUndefined();
    expect(at(7n, ["a"], 0, 2n)).toBeUndefined();
    expect(at(7n, ["a", "ends"], 99)).toEqual(["a", "ends"]);
    expect(at(7n, ["a", "ends"], 100)).toEqual(["a"]);
  });

  it("does not mistake a bucket that was made anew for the old one", () => {
    const memory = new KeyMemory();
    memory.learn("b", told(5n, ["a"]));
    memory.learn("b", told(5n, ["b"], 5n, 2n));
    expect(keysOf(memory)).toEqual(["b"]);
  });

  it("keeps no key that is deleted, large, or was read without its value", () => {
    const memory = new KeyMemory();
    memory.learn("b", told(5n, ["a", "b", "c"]));
    const rows = [
      ["a", entryOf("a", 0, { deleted: true })],
      ["b", entryOf("b", REMEMBERED_VALUE_BYTES_MAX)],
      ["c", entryOf("c", 1, { partial: true })],
      ["d", undefined],
    ] as const;
    memory.learn("b", { bucketId: 1n, revision: 5n, nextRevision: 6n, rows });
    expect(keysOf(memory)).toEqual([]);
  });

  it("has a bound in bytes, counts what it holds, and lets go of what was used longest ago", () => {
    const memory = new KeyMemory(20_000);
    for (let at = 0; at < 200; at += 1) {
      memory.learn(`b${at % 5}`, told(1n, [`k${at}`]));
      expect(memory.bytes).toBeLessThanOrEqual(20_000);
    }
    expect(keysOf(memory, "b4")).toContain("k199");
    for (let at = 0; at < 200; at += 1) memory.learn(`empty${at}`, told(1n, []));
    expect(memory.bytes).toBeLessThanOrEqual(20_000);
    for (let at = 0; at < 200; at += 1) memory.forget(`empty${at}`);
    for (let at = 0; at < 5; at += 1) memory.forget(`b${at}`);
    expect(memory.bytes).toBe(0);
  });
});
