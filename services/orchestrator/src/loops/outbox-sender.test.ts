import { NexusError } from "@nexus/shared";
import { describe, expect, it } from "vitest";
import type { OutcomeGroup, OutcomeReceiver } from "../domain/outcome.ts";
import { OutboxSender } from "./outbox-sender.ts";
import { BYTES_PER_CALL_MAX, GROUPS_PER_CALL_MAX } from "./outcome-stream.ts";

const NOW_MS = 1_700_000_000_000;
const HOUR_MS = 3_600_000;
const OWN = "own/1";

interface Row extends OutcomeGroup {
  readonly stream: string;
}

/** A group; positions are those of its last outcome, as the log numbers them. */
function row(
  position: number,
  {
    stream = OWN,
    outcomes = 1,
    bytes = 1,
    ageMs = 0,
  }: { stream?: string; outcomes?: number; bytes?: number; ageMs?: number } = {},
): Row {
  return { stream, position, outcomes, data: Buffer.alloc(bytes), createdAtMs: NOW_MS - ageMs };
}

function rows(from: number, to: number, stream = OWN): Row[] {
  return Array.from({ length: to - from + 1 }, (_, i) => row(from + i, { stream }));
}

type Refusal = (stream: string, groups: readonly OutcomeGroup[]) => NexusError | undefined;

/** A receiver that writes down what it hears. */
function listener(name: string) {
  const calls: { stream: string; positions: number[] }[] = [];
  let refuse: Refusal = () => undefined;
  const receiver: OutcomeReceiver = {
    name,
    send(stream, groups) {
      const error = refuse(stream, groups);
      if (error !== undefined) return Promise.reject(error);
      calls.push({ stream, positions: groups.map(({ position }) => position) });
      return Promise.resolve();
    },
  };
  return {
    receiver,
    calls,
    heard: (stream = OWN) =>
      calls.filter((call) => call.stream === stream).flatMap(({ positions }) => positions),
    refuseWith(next: Refusal) {
      refuse = next;
    },
  };
}

/** An outbox in memory and two receivers. */
function setUp(initial: readonly Row[], outcomesMax = 1_000_000) {
  const stored = [...initial];
  const dropped: [string, number, string][] = [];
  const [one, two] = [listener("one"), listener("two")];
  let depth = -1;
  let version = 0;
  let reads = 0;
  let adopts = true;
  const of = (stream: string) => stored.filter((each) => each.stream === stream);
  const sender = new OutboxSender({
    outbox: {
      read(stream, after, { groupsMax, bytesMax }) {
        reads += 1;
        let sum = 0;
        const found = of(stream).filter(({ position }) => position > after);
        const groups = found.slice(0, groupsMax).filter(({ data }, index) => {
          sum += data.length;
          return sum <= bytesMax || index === 0;
        });
        return Promise.resolve({ groups, isLast: groups.length === found.length });
      },
      delete(stream, upTo) {
        const kept = stored.filter((each) => each.stream !== stream || each.position > upTo);
        stored.splice(0, stored.length, ...kept);
        return Promise.resolve();
      },
      span(stream) {
        const [first, last] = [of(stream)[0], of(stream).at(-1)];
        if (first === undefined || last === undefined) return Promise.resolve(undefined);
        return Promise.resolve({ before: first.position - first.outcomes, last: last.position });
      },
      orphans: () =>
        Promise.resolve([...new Set(stored.map(({ stream }) => stream))].filter((s) => s !== OWN)),
    },
    receivers: [one.receiver, two.receiver],
    outcomesMax,
    stream: OWN,
    version: () => version,
    adopts: () => adopts,
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
    one,
    two,
    dropped,
    stored,
    sender,
    depth: () => depth,
    reads: () => reads,
    commit(...added: Row[]) {
      stored.push(...added);
      version += 1;
    },
    tellOne: () => sender.tell(one.receiver, signal),
    tellTwo: () => sender.tell(two.receiver, signal),
    adopt(next: boolean) {
      adopts = next;
    },
  };
}

function failing(kind: "invalid" | "unavailable") {
  return new NexusError({ kind, reason: "X", message: "x" });
}

function range(from: number, to: number): number[] {
  return Array.from({ length: to - from + 1 }, (_, i) => from + i);
}

describe("OutboxSender", () => {
  it("tells in batches, in order, and deletes only what both have heard", async () => {
    const t = setUp(rows(1, 600));
    await t.tellOne();
    expect(t.one.heard()).toEqual(range(1, 600));
    for (const { positions } of t.one.calls) {
      expect(positions.length).toBeLessThanOrEqual(GROUPS_PER_CALL_MAX);
    }
    await t.sender.sweep();
    expect(t.stored).toHaveLength(600);
    expect(t.depth()).toBe(600);
    await t.tellTwo();
    await t.sender.sweep();
    expect(t.stored).toHaveLength(0);
    await t.sender.sweep();
    expect(t.depth()).toBe(0);
  });

  it("bounds the bytes of a call, and sends a largest group alone", async () => {
    const part = Math.floor(BYTES_PER_CALL_MAX * 0.4);
    const sizes = [part, part, part, BYTES_PER_CALL_MAX + 1, 1];
    const all = sizes.map((bytes, index) => row(index + 1, { bytes }));
    const [first, second, third, fourth, fifth] = all.map((group) => group.position);
    const t = setUp(all);
    await t.tellOne();
    expect(t.one.calls.map(({ positions }) => positions)).toEqual([
      [first, second],
      [third],
      [fourth],
      [fifth],
    ]);
  });

  it("tells a receiver again what it did not acknowledge, and never twice what it did", async () => {
    const t = setUp(rows(1, GROUPS_PER_CALL_MAX + 10));
    t.one.refuseWith(() => (t.one.calls.length === 0 ? undefined : failing("unavailable")));
    await expect(t.tellOne()).rejects.toThrow();
    expect(t.one.heard()).toEqual(range(1, GROUPS_PER_CALL_MAX));
    t.one.refuseWith(() => undefined);
    await t.tellOne();
    expect(t.one.heard()).toEqual(range(1, GROUPS_PER_CALL_MAX + 10));
  });

  it("asks for outcomes only after some were committed", async () => {
    const t = setUp(rows(1, 1));
    // The second look finds that nothing came while the first was told.
    await t.tellOne();
    await t.tellOne();
    t.stored.push(row(2));
    await t.tellOne();
    expect(t.one.heard()).toEqual([1]);
    t.commit(row(3));
    await t.tellOne();
    expect(t.one.heard()).toEqual([1, 2, 3]);
  });

  it("leaves what comes while it tells for the next time", async () => {
    const t = setUp(rows(1, 3));
    t.one.refuseWith(() => {
      t.commit(row(t.stored.length + 1));
      return undefined;
    });
    await t.tellOne();
    expect(t.one.heard()).toEqual([1, 2, 3]);
    await t.tellOne();
    expect(t.one.heard()).toEqual([1, 2, 3, 4]);
  });

  it("reads once what both receivers are told", async () => {
    const t = setUp(rows(1, 3));
    await Promise.all([t.tellOne(), t.tellTwo()]);
    expect([t.one.heard(), t.two.heard()]).toEqual([range(1, 3), range(1, 3)]);
    expect(t.reads()).toBe(1);
  });

  it("asks again after it joined a read that found nothing", async () => {
    const t = setUp([]);
    const first = t.tellOne();
    t.commit(row(1));
    await Promise.all([first, t.tellTwo()]);
    expect(t.two.heard()).toEqual([]);
    await t.tellTwo();
    expect(t.two.heard()).toEqual([1]);
  });

  it("drops only the group that a receiver will never take", async () => {
    const t = setUp([...rows(1, 6), row(9, { outcomes: 3 }), ...rows(10, 20)]);
    t.one.refuseWith((_stream, groups) =>
      groups.some(({ position }) => position === 9) ? failing("invalid") : undefined,
    );
    await t.tellOne();
    expect(t.one.heard()).toEqual([...range(1, 6), ...range(10, 20)]);
    expect(t.dropped).toEqual([["one", 3, "X"]]);
  });

  it("drops what is too old to be counted once", async () => {
    const t = setUp([row(2, { outcomes: 2, ageMs: 24 * HOUR_MS }), row(3, { ageMs: HOUR_MS })]);
    await t.tellOne();
    expect(t.one.heard()).toEqual([3]);
    expect(t.dropped).toEqual([["one", 2, "too old"]]);
  });

  it("drops the oldest beyond its limit when a receiver stays away", async () => {
    const t = setUp(rows(1, 30), 10);
    await t.tellTwo();
    await t.sender.sweep();
    expect(t.stored.map(({ position }) => position)).toEqual(range(21, 30));
    expect(t.dropped).toEqual([["all", 20, "outbox full"]]);
    expect(t.depth()).toBe(10);
  });

  it("tells what dead replicas left, their oldest stream first, and deletes it", async () => {
    const t = setUp([...rows(5, 7, "dead/1"), ...rows(1, 2, "dead/2"), ...rows(1, 3)]);
    await t.sender.sweep();
    await t.tellOne();
    expect(t.one.calls.map(({ stream }) => stream)).toEqual([OWN, "dead/1", "dead/2"]);
    expect(t.one.heard("dead/1")).toEqual([5, 6, 7]);
    await t.sender.sweep();
    expect(t.stored).toHaveLength(8);
    expect(t.depth()).toBe(8);
    await t.tellTwo();
    await t.sender.sweep();
    expect(t.stored).toHaveLength(0);
    await t.sender.sweep();
    await t.tellOne();
    expect(t.one.heard("dead/1")).toEqual([5, 6, 7]);
    expect(t.depth()).toBe(0);
  });

  it("leaves what dead replicas left to the one that adopts, and tells its own all the same", async () => {
    const t = setUp([...rows(1, 2, "dead/1"), ...rows(1, 3)]);
    t.adopt(false);
    await t.sender.sweep();
    await t.tellOne();
    expect(t.one.heard("dead/1")).toEqual([]);
    expect(t.one.heard()).toEqual([1, 2, 3]);
    t.adopt(true);
    await t.sender.sweep();
    await t.tellOne();
    expect(t.one.heard("dead/1")).toEqual([1, 2]);
  });

  it("tells what a replica added to its stream that came back between two looks", async () => {
    const t = setUp(rows(1, 2, "dead/1"));
    await t.sender.sweep();
    await t.tellOne();
    await t.tellOne();
    t.stored.push(row(3, { stream: "dead/1" }));
    await t.sender.sweep();
    await t.tellOne();
    expect(t.one.heard("dead/1")).toEqual([1, 2, 3]);
  });

  it("tells all of a stream again when it adopts it a second time", async () => {
    const t = setUp(rows(1, 2, "dead/1"));
    await t.sender.sweep();
    await t.tellOne();
    t.adopt(false);
    await t.sender.sweep();
    t.adopt(true);
    await t.sender.sweep();
    await t.tellOne();
    expect(t.one.heard("dead/1")).toEqual([1, 2, 1, 2]);
    expect(t.stored).toHaveLength(2);
  });

  it("does not adopt its own stream while it is put out", async () => {
    const t = setUp(rows(1, 2));
    await t.sender.sweep();
    await t.tellOne();
    expect(t.one.calls).toHaveLength(1);
  });
});
