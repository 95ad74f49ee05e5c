import { createIds } from "@nexus/shared";
import { describe, expect, it } from "vitest";
import { fairShare, SHARDS, shardOf, toShard } from "./shards.ts";

const ids = createIds();

describe("shardOf", () => {
  it("spreads new ids over all shards", () => {
    const seen = new Set(Array.from({ length: 4_000 }, () => shardOf(ids.next("job"))));
    expect(seen.size).toBe(SHARDS);
  });

  it("reads back the shard an id was moved into, and leaves the rest of the id alone", () => {
    for (let shard = 0; shard < SHARDS; shard += 1) {
      const id = ids.next("job");
      const moved = toShard(id, shard);
      expect(shardOf(moved)).toBe(shard);
      expect(moved.slice(0, -2)).toBe(id.slice(0, -2));
      expect(moved).toHaveLength(id.length);
    }
  });

  it("puts what is no id into no shard", () => {
    for (const id of ["", "7", "job_", "task_0g", "task_é1"]) expect(shardOf(id)).toBeNaN();
    expect(shardOf("job_7F")).toBe(shardOf("job_7f"));
  });
});

describe("fairShare", () => {
  it("hands out every shard, and no replica gets two more than another", () => {
    for (let count = 1; count <= SHARDS + 3; count += 1) {
      const replicas = Array.from({ length: count }, (_, i) => `replica-${i}`);
      const shares = replicas.map((id) => fairShare(id, replicas));
      expect(shares.reduce((a, b) => a + b)).toBe(SHARDS);
      expect(Math.max(...shares) - Math.min(...shares)).toBeLessThanOrEqual(1);
    }
  });

  it("gives nothing to a replica that is not among them", () => {
    expect(fairShare("gone", ["a", "b"])).toBe(0);
  });
});
