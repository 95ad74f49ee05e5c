import { NexusError } from "@nexus/shared";
import { describe, expect, it } from "vitest";
import type { Outcome, OutcomeReceiver } from "../domain/outcome.ts";
import { OUTCOMES_PER_CALL_MAX, OutboxSender } from "./outbox-sender.ts";

const NOW_MS = 1_700_000_000_000;
const HOUR_MS = 3_600_000;

function outcome(position: number, endedAgoMs = 0): Outcome {
  const at = new Date(NOW_MS - endedAgoMs);
  return {
    position: BigInt(position),
    namespace: "default",
    jobId: "job",
    taskId: `task_${position}`,
    fence: BigInt(position),
    agentId: "a",
    capability: "x",
    attempt: 1,
    success: true,
    reason: "",
    readyAt: at,
    leasedAt: at,
    startedAt: at,
    endedAt: at,
  };
}

/** An outbox in memory and two receivers, one of which the test controls. */
function setUp(rows: Outcome[], rowsMax = 1_000_000) {
  const heard: bigint[] = [];
  const other: bigint[] = [];
  const dropped: [string, number, string][] = [];
  let refuse: (outcomes: readonly Outcome[]) => NexusError | undefined = () => undefined;
  let depth = -1;
  let version = 0;
  const receiver: OutcomeReceiver = {
    name: "one",
    send(outcomes) {
      const error = refuse(outcomes);
      if (error !== undefined) return Promise.reject(error);
      heard.push(...outcomes.map((item) => item.position));
      return Promise.resolve();
    },
  };
  const second: OutcomeReceiver = {
    name: "two",
    send(outcomes) {
      other.push(...outcomes.map((item) => item.position));
      return Promise.resolve();
    },
  };
  const stored = [...rows];
  let owned = { generation: 1, shards: [0] };
  const sender = new OutboxSender({
    outbox: {
      read: (_shards, after, limit) =>
        Promise.resolve(stored.filter((row) => row.position > after).slice(0, limit)),
      delete(_shards, upTo) {
        const kept = stored.filter((row) => row.position > upTo);
        const gone = stored.length - kept.length;
        stored.splice(0, stored.length, ...kept);
        return Promise.resolve(gone);
      },
      span() {
        const first = stored[0]?.position;
        const last = stored.at(-1)?.position;
        return Promise.resolve(
          first === undefined || last === undefined ? undefined : { first, last },
        );
      },
    },
    receivers: [receiver, second],
    rowsMax,
    owned: () => owned,
    version: () => version,
    nowMs: () => NOW_MS,
    events: {
      outcomesSent: () => undefined,
      outcomesDropped: (...args) => dropped.push(args),
      outboxDepth: (value) => {
        depth = value;
      },
    },
  });
  const signal = new AbortController().signal;
  return {
    heard,
    other,
    dropped,
    stored,
    sender,
    depth: () => depth,
    commit(row: Outcome) {
      stored.push(row);
      version += 1;
    },
    tellOne: () => sender.tell(receiver, signal),
    tellTwo: () => sender.tell(second, signal),
    take(...shards: number[]) {
      owned = { generation: owned.generation + 1, shards };
    },
    refuseWith(fn: typeof refuse) {
      refuse = fn;
    },
  };
}

function failing(kind: "invalid" | "unavailable") {
  return new NexusError({ kind, reason: "X", message: "x" });
}

function range(from: number, to: number): bigint[] {
  return Array.from({ length: to - from + 1 }, (_, i) => BigInt(from + i));
}

describe("OutboxSender", () => {
  it("tells in batches, in order, and deletes only what both have heard", async () => {
    const rows = Array.from({ length: 1_200 }, (_, i) => outcome(i + 1));
    const t = setUp(rows);
    await t.tellOne();
    expect(t.heard).toEqual(range(1, 1_200));
    await t.sender.sweep();
    expect(t.stored).toHaveLength(1_200);
    await t.tellTwo();
    await t.sender.sweep();
    expect(t.stored).toHaveLength(0);
    await t.sender.sweep();
    expect(t.depth()).toBe(0);
  });

  it("tells a receiver again what it did not acknowledge, and never twice what it did", async () => {
    const t = setUp(Array.from({ length: OUTCOMES_PER_CALL_MAX + 10 }, (_, i) => outcome(i + 1)));
    t.refuseWith(() => (t.heard.length === 0 ? undefined : failing("unavailable")));
    await expect(t.tellOne()).rejects.toThrow();
    expect(t.heard).toEqual(range(1, OUTCOMES_PER_CALL_MAX));
    t.refuseWith(() => undefined);
    await t.tellOne();
    expect(t.heard).toEqual(range(1, OUTCOMES_PER_CALL_MAX + 10));
  });

  it("asks for outcomes only after some were committed", async () => {
    const t = setUp([outcome(1)]);
    await t.tellOne();
    t.stored.push(outcome(2));
    await t.tellOne();
    expect(t.heard).toEqual([1n]);
    t.commit(outcome(3));
    await t.tellOne();
    expect(t.heard).toEqual([1n, 2n, 3n]);
  });

  it("drops only the outcome that a receiver will never take", async () => {
    const t = setUp(Array.from({ length: 20 }, (_, i) => outcome(i + 1)));
    t.refuseWith((batch) =>
      batch.some((o) => o.position === 7n) ? failing("invalid") : undefined,
    );
    await t.tellOne();
    expect(t.heard).toEqual(range(1, 20).filter((position) => position !== 7n));
    expect(t.dropped).toEqual([["one", 1, "X"]]);
  });

  it("drops what is too old to be counted once", async () => {
    const t = setUp([outcome(1, 24 * HOUR_MS), outcome(2, HOUR_MS)]);
    await t.tellOne();
    expect(t.heard).toEqual([2n]);
    expect(t.dropped).toEqual([["one", 1, "too old"]]);
  });

  it("drops the oldest beyond its limit when a receiver stays away", async () => {
    const t = setUp(
      Array.from({ length: 30 }, (_, i) => outcome(i + 1)),
      10,
    );
    await t.tellTwo();
    await t.sender.sweep();
    expect(t.stored.map((row) => row.position)).toEqual(range(21, 30));
    expect(t.dropped[0]?.[2]).toBe("outbox full");
    expect(t.depth()).toBe(10);
  });

  it("begins anew when shards were taken, and deletes nothing that was not told since", async () => {
    const t = setUp(Array.from({ length: 3 }, (_, i) => outcome(i + 2)));
    await t.tellOne();
    await t.tellTwo();
    // Of the shard taken now, and older than all that was told.
    t.stored.unshift(outcome(1));
    t.take(0, 1);
    await t.sender.sweep();
    expect(t.stored).toHaveLength(4);
    await t.tellOne();
    await t.tellTwo();
    expect(t.heard).toEqual([...range(2, 4), ...range(1, 4)]);
    await t.sender.sweep();
    expect(t.stored).toHaveLength(0);
  });

  it("tells and deletes nothing while this replica may not write", async () => {
    const t = setUp([outcome(1)]);
    t.take();
    await t.tellOne();
    await t.sender.sweep();
    expect(t.heard).toEqual([]);
    expect(t.stored).toHaveLength(1);
  });
});
