/** The promise of each policy, whatever the order in which writes arrive and however often. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { encodeContext, joinContexts, tryDecodeContext } from "./causal-context.ts";
import { EntryPacker, unpackChanges, unpackEntry } from "./entry-codec.ts";
import { compareTimes, nextTime } from "./hybrid-time.ts";
import { FakeBucket, putOp, valuesOf } from "./state.fake.ts";
import type { Op, WriteResult } from "./write.ts";

function resultOf(fake: FakeBucket, op: Op, more: object = {}): WriteResult {
  const result = fake.commit([op], more);
  if (result.kind !== "done") throw new Error(result.refusal.reason);
  return result.results[0] as WriteResult;
}

const writerOf = (principalId: string) => ({
  writer: { principalId, taskId: "", fence: 0n, traceId: "" },
});

/** A permutation of the items, some of them twice. */
function disturbed<T>(items: readonly T[]): fc.Arbitrary<T[]> {
  if (items.length === 0) return fc.constant([]);
  const twice = fc.subarray([...items]);
  return twice.chain((more) =>
    fc.shuffledSubarray([...items, ...more], { minLength: items.length + more.length }),
  );
}

describe("LWW", () => {
  const write = fc.record({
    node: fc.constantFrom("a", "b", "c"),
    physicalMs: fc.integer({ min: 995_000, max: 1_005_000 }),
    logical: fc.integer({ min: 0, max: 2 }),
    isDelete: fc.boolean(),
  });
  const writes = fc.uniqueArray(write, {
    maxLength: 12,
    selector: (one) => `${one.physicalMs}/${one.logical}/${one.node}`,
  });

  it("ends with the same value in any order of arrival, with writes that come twice", () => {
    const cases = writes.chain((all) => fc.tuple(disturbed(all), disturbed(all)));
    fc.assert(
      fc.property(cases, (orders) => {
        const ends = orders.map((order) => {
          const fake = new FakeBucket("lww");
          for (const { node, isDelete, physicalMs, logical } of order) {
            const time = { physicalMs, logical };
            const name = `${physicalMs}/${logical}/${node}`;
            const op: Op = isDelete
              ? { kind: "delete", key: "k", time }
              : putOp("k", name, { time });
            resultOf(fake, op, writerOf(node));
          }
          const entry = fake.entries.get("k");
          return { values: valuesOf(entry), time: entry?.time, deleted: entry?.deleted };
        });
        expect(ends[0]).toEqual(ends[1]);
      }),
    );
  });

  it("lets whoever has read a value replace it, whatever the clocks say", () => {
    const fake = new FakeBucket("lww");
    resultOf(fake, putOp("k", "ahead", { time: { physicalMs: fake.nowMs + 5_000, logical: 9 } }));
    expect(resultOf(fake, putOp("k", "after")).status).toBe("applied");
    expect(valuesOf(fake.entries.get("k"))).toEqual(["after"]);
  });

  it("ends a key when its time was over, not when somebody looked", () => {
    const fake = new FakeBucket("lww");
    resultOf(fake, putOp("k", "short", { ttlMs: 100 }));
    fake.nowMs += 1_000;
    const between = { time: { physicalMs: fake.nowMs - 500, logical: 0 } };
    resultOf(fake, { kind: "expire", key: "k" });
    expect(resultOf(fake, putOp("k", "after its end", between)).status).toBe("applied");
  });

  it("remembers a deletion until writes of before it are too old", () => {
    const fake = new FakeBucket("lww");
    const time = { physicalMs: fake.nowMs + 5_000, logical: 0 };
    resultOf(fake, { kind: "delete", key: "k", time });
    fake.nowMs += 12_000;
    expect(resultOf(fake, { kind: "purge", key: "k" }).status).toBe("unchanged");
    const before = { time: { ...time, physicalMs: time.physicalMs - 1 } };
    expect(resultOf(fake, putOp("k", "before", before)).status).toBe("superseded");
    fake.nowMs += 3_000;
    expect(resultOf(fake, { kind: "purge", key: "k" }).status).toBe("applied");
    const tooOld = resultOf(fake, putOp("k", "before", before));
    expect(tooOld.refusal?.reason).toBe("STATE_TIME_INVALID");
  });

  it("orders moments in one way, and finds one after each", () => {
    const time = fc.record({
      physicalMs: fc.integer({ min: 0, max: 5 }),
      logical: fc.integer({ min: 0, max: 2 }),
      node: fc.constantFrom("a", "b"),
    });
    fc.assert(
      fc.property(time, time, fc.integer({ min: 0, max: 6 }), (one, other, nowMs) => {
        expect(Math.sign(compareTimes(one, other))).toBe(-Math.sign(compareTimes(other, one)) + 0);
        expect(compareTimes(nextTime(one, nowMs, "x"), one)).toBeGreaterThan(0);
        expect(nextTime(one, nowMs, "x").physicalMs).toBeGreaterThanOrEqual(nowMs);
      }),
    );
    const full = { physicalMs: 7, logical: 2 ** 31 - 1, node: "a" };
    expect(nextTime(full, 7, "b")).toEqual({ physicalMs: 8, logical: 0, node: "b" });
  });
});

describe("VECTOR", () => {
  const step = fc.record({
    writer: fc.integer({ min: 0, max: 3 }),
    does: fc.constantFrom("read", "put", "put", "join", "delete", "resolve"),
    other: fc.integer({ min: 0, max: 3 }),
  });

  it("keeps exactly the writes that no later writer had seen", () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const fake = new FakeBucket("vector");
        // The model: each writer has a set of writes that it has seen; a write replaces those, and nothing else.
        const seen = Array.from({ length: 4 }, () => new Set<string>());
        const contexts = Array.from({ length: 4 }, () => new Uint8Array(0) as Uint8Array);
        let standing = new Set<string>();
        for (const [at, { writer, does, other }] of steps.entries()) {
          const context = contexts[writer] as Uint8Array;
          const mine = seen[writer] as Set<string>;
          if (does === "read") {
            const entry = fake.entries.get("k");
            if (entry === undefined || entry.deleted) continue;
            contexts[writer] = encodeContext({ base: entry.revision, dots: [] }, 1n, "k");
            for (const name of standing) mine.add(name);
            // Everything before is covered as well, and gone.
          } else if (does === "join") {
            const decode = (bytes: Uint8Array) =>
              tryDecodeContext(bytes, 1n, "k", fake.bucket.revision) ?? { base: -1n, dots: [] };
            const both = joinContexts(decode(context), decode(contexts[other] as Uint8Array));
            contexts[writer] = encodeContext(both, 1n, "k");
            for (const name of seen[other] as Set<string>) mine.add(name);
          } else if (does === "put") {
            const name = `w${at}`;
            const { status, context: after } = resultOf(fake, putOp("k", name, { context }));
            if (status !== "applied" || after === undefined) continue;
            standing = new Set([...standing].filter((one) => !mine.has(one)).concat(name));
            contexts[writer] = encodeContext(after, 1n, "k");
            mine.add(name);
          } else if (does === "delete") {
            if (context.byteLength === 0) continue;
            resultOf(fake, { kind: "delete", key: "k", context });
            standing = new Set([...standing].filter((one) => !mine.has(one)));
          } else {
            const versions = fake.entries.get("k")?.versions ?? [];
            const named = versions.slice(0, 1 + (other % 2));
            if (named.length === 0) continue;
            const name = `r${at}`;
            const value = { contentType: "x", data: Buffer.from(name) };
            const versionIds = named.map(({ id }) => id);
            const { context: after } = resultOf(fake, {
              kind: "resolve",
              key: "k",
              versionIds,
              value,
            });
            for (const { data } of named) standing.delete(Buffer.from(data).toString());
            standing.add(name);
            if (after === undefined) continue;
            contexts[writer] = encodeContext(after, 1n, "k");
            seen[writer] = new Set(versions.length === named.length ? [...standing] : [name]);
          }
          expect(valuesOf(fake.entries.get("k")).sort()).toEqual([...standing].sort());
        }
      }),
      { numRuns: 300 },
    );
  });

  it("keeps each writer's last write in any order between writers, with writes that come again at any time", () => {
    const cases = fc
      .array(fc.integer({ min: 1, max: 4 }), { minLength: 1, maxLength: 5 })
      .chain((lengths) => {
        const turns = lengths.flatMap((length, writer) => Array<number>(length).fill(writer));
        const whole = { minLength: turns.length, maxLength: turns.length };
        return fc.tuple(
          fc.constant(lengths),
          fc.shuffledSubarray(turns, whole),
          fc.array(fc.option(fc.nat()), whole),
        );
      });
    fc.assert(
      fc.property(cases, ([lengths, turns, repeats]) => {
        const fake = new FakeBucket("vector");
        const sent: (() => WriteResult)[] = [];
        const answers: WriteResult[] = [];
        // A writer knows its own writes and nobody else's: what it had written last is what it replaces.
        const last = lengths.map((): WriteResult | undefined => undefined);
        for (const [at, writer] of turns.entries()) {
          const seen = last[writer]?.context;
          const context = seen === undefined ? {} : { context: encodeContext(seen, 1n, "k") };
          const op = putOp("k", `${writer}/${at}`, context);
          const name = { key: at.toString(16).padStart(32, "0"), bodyHash: BigInt(at) };
          const send = () => resultOf(fake, op, { name, ...writerOf(`w${writer}`) });
          sent.push(send);
          const answer = send();
          answers.push(answer);
          last[writer] = answer;
          const again = repeats[at];
          if (again === null || again === undefined) continue;
          const repeated = again % sent.length;
          expect(sent[repeated]?.()).toEqual(answers[repeated]);
        }
        const ends = lengths.map((_, writer) => `${writer}/${turns.lastIndexOf(writer)}`);
        expect(valuesOf(fake.entries.get("k")).sort()).toEqual(ends.sort());
      }),
      { numRuns: 300 },
    );
  });

  it("shortens no life of versions that a writer had not seen", () => {
    const fake = new FakeBucket("vector");
    const first = resultOf(fake, putOp("k", "stays"));
    resultOf(fake, putOp("k", "short", { ttlMs: 100 }));
    expect(fake.entries.get("k")?.expiresAtMs).toBeUndefined();
    const value = { contentType: "x", data: Buffer.from("both") };
    const shorter: Op = { kind: "resolve", key: "k", versionIds: [3n], value, ttlMs: 100 };
    expect(resultOf(fake, shorter).status).toBe("applied");
    expect(fake.entries.get("k")?.expiresAtMs).toBeUndefined();
    const { entries } = fake;
    const seen = encodeContext({ base: fake.bucket.revision, dots: [] }, 1n, "k");
    resultOf(fake, putOp("k", "all seen", { ttlMs: 100, context: seen }));
    expect([first.status, entries.get("k")?.expiresAtMs]).toEqual(["applied", fake.nowMs + 100]);
    resultOf(fake, putOp("k", "shorter still", { ttlMs: 10 }));
    expect(entries.get("k")?.expiresAtMs).toBe(fake.nowMs + 100);
  });

  it("refuses an attempt of a task while a version of a later one stands", () => {
    const fake = new FakeBucket("vector");
    const attempt = (fence: bigint) => ({
      writer: { principalId: "agent", taskId: "task_1", fence, traceId: "" },
    });
    resultOf(fake, putOp("k", "second"), attempt(2n));
    resultOf(fake, putOp("k", "another's"), writerOf("bob"));
    const late = resultOf(fake, putOp("k", "first"), attempt(1n));
    expect(late.refusal?.reason).toBe("LEASE_LOST");
    expect(resultOf(fake, putOp("k", "third"), attempt(3n)).status).toBe("applied");
  });

  it("knows its own contexts, and no others", () => {
    const bytes = encodeContext({ base: 3n, dots: [5n] }, 1n, "k");
    expect(tryDecodeContext(bytes, 1n, "k", 5n)).toEqual({ base: 3n, dots: [5n] });
    expect(tryDecodeContext(bytes, 1n, "other", 5n)).toBeUndefined();
    expect(tryDecodeContext(bytes, 2n, "k", 5n)).toBeUndefined();
    expect(tryDecodeContext(bytes, 1n, "k", 4n)).toBeUndefined();
    expect(tryDecodeContext(bytes.subarray(1), 1n, "k", 5n)).toBeUndefined();
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), (noise) => {
        expect(() => tryDecodeContext(noise, 1n, "k", 5n)).not.toThrow();
      }),
    );
  });
});

describe("CAS", () => {
  it("applies one of many writes on the same revision, and makes one chain", () => {
    const attempt = fc.record({ guess: fc.integer({ min: 0, max: 5 }) });
    fc.assert(
      fc.property(fc.array(attempt, { maxLength: 40 }), (attempts) => {
        const fake = new FakeBucket("cas");
        const revisions = [0n];
        const won = new Map<bigint, number>();
        for (const { guess } of attempts) {
          const expectedRevision = revisions[guess % revisions.length] as bigint;
          const { status, revision } = resultOf(fake, putOp("k", "v", { expectedRevision }));
          if (status !== "applied") continue;
          won.set(expectedRevision, (won.get(expectedRevision) ?? 0) + 1);
          revisions.push(revision);
        }
        expect([...won.values()].every((count) => count === 1)).toBe(true);
        expect([...won.keys()]).toEqual(revisions.slice(0, won.size));
      }),
    );
  });
});

describe("COUNTER", () => {
  it("adds up the same in any order, each request once however often it comes", () => {
    const deltas = fc.array(fc.bigInt({ min: -1_000n, max: 1_000n }), { maxLength: 15 });
    const cases = deltas.chain((all) => {
      const named = all.map((delta, at) => ({ delta, key: at.toString(16).padStart(32, "0") }));
      return fc.tuple(fc.constant(all), disturbed(named));
    });
    fc.assert(
      fc.property(cases, ([all, order]) => {
        const fake = new FakeBucket("counter");
        for (const { delta, key } of order) {
          resultOf(
            fake,
            { kind: "increment", key: "c", delta },
            { name: { key, bodyHash: delta } },
          );
        }
        const { plus = 0n, minus = 0n } = fake.entries.get("c")?.tally ?? {};
        expect(plus - minus).toBe(all.reduce((sum, delta) => sum + delta, 0n));
      }),
    );
  });
});

describe("counts of a bucket", () => {
  it("are those of its rows, whatever was applied, refused or taken back", () => {
    const op = fc.record({
      key: fc.constantFrom("a", "b", "c"),
      does: fc.constantFrom("put", "put", "delete", "ttl"),
      bytes: fc.integer({ min: 0, max: 1_200 }),
    });
    const call = fc.record({
      ops: fc.array(op, { minLength: 1, maxLength: 5 }),
      atomic: fc.boolean(),
    });
    fc.assert(
      fc.property(fc.array(call, { maxLength: 20 }), (calls) => {
        const fake = new FakeBucket("lww");
        for (const { ops, atomic } of calls) {
          fake.nowMs += 3;
          const before = fake.bucket.revision;
          const made = ops.map(({ key, does, bytes }): Op => {
            if (does === "delete") return { kind: "delete", key };
            return putOp(key, "x".repeat(bytes), does === "ttl" ? { ttlMs: 2 } : {});
          });
          const result = fake.commit(made, { atomic });
          if (atomic && result.kind === "refused") expect(fake.bucket.revision).toBe(before);
          for (const key of fake.entries.keys()) fake.commit([{ kind: "expire", key }]);
        }
        fake.nowMs += 20_000;
        const rows = [...fake.entries.values()];
        const { keys, tombstones, bytes, revision } = fake.bucket;
        expect(keys).toBe(rows.filter(({ deleted }) => !deleted).length);
        expect(tombstones).toBe(rows.filter(({ deleted }) => deleted).length);
        expect(bytes).toBe(rows.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0));
        expect(fake.log.map(({ entry }) => entry.revision)).toEqual(
          fake.log.map((_, at) => 2n + BigInt(at)),
        );
        expect(revision).toBe(1n + BigInt(fake.log.length));
        for (const key of fake.entries.keys()) fake.commit([{ kind: "purge", key }]);
        expect(fake.bucket.tombstones).toBe(0);
      }),
    );
  });
});

describe("what is stored", () => {
  it("is read as it was written", () => {
    const fake = new FakeBucket("vector");
    resultOf(fake, putOp("k", "one", { ttlMs: 500 }));
    resultOf(fake, putOp("k", "two"), writerOf("bob"));
    const counter = new FakeBucket("counter");
    resultOf(counter, { kind: "increment", key: "c", delta: -5n });
    const last = new FakeBucket("lww");
    resultOf(last, putOp("k", ""));
    resultOf(last, { kind: "delete", key: "k" });
    for (const { entries, log } of [fake, counter, last]) {
      for (const entry of entries.values()) {
        const packer = new EntryPacker();
        const [meta, values] = [packer.meta(entry), packer.values(entry)];
        expect(unpackEntry(entry.key, entry.revision, meta, Buffer.from(values))).toEqual({
          ...entry,
          versions: entry.versions.map((version) => ({
            ...version,
            data: Buffer.from(version.data),
          })),
        });
      }
      const packed = new EntryPacker().changes(log);
      expect(new EntryPacker().changes(unpackChanges(packed))).toEqual(packed);
    }
  });
});
