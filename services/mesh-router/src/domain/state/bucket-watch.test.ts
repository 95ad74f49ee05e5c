import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type ResyncReason, type WatchNews, watchBucket } from "./bucket-watch.ts";
import { ChangeTails } from "./change-tail.ts";
import { FakeBucket, putOp, valuesOf } from "./state.fake.ts";
import { TAIL_CHANGES_MAX } from "./state-limits.ts";
import type { StateQueue } from "./state-queue.ts";
import type { Op } from "./write.ts";

/** A watch that reads only when the test says so. */
function watching(fake: FakeBucket, after?: bigint) {
  const tails = new ChangeTails(() => undefined);
  const resyncs: ResyncReason[] = [];
  const queue = { scan: (read: () => Promise<unknown>) => read() } as unknown as StateQueue;
  const deps = { tails, reads: fake.reads, queue, onResync: (r: ResyncReason) => resyncs.push(r) };
  const abort = new AbortController();
  const init = { bucket: fake.bucket, prefix: "", after, signal: abort.signal };
  const stream = watchBucket(deps, init);
  const commit = (ops: readonly Op[]): void => {
    const from = fake.log.length;
    fake.commit(ops);
    const changes = fake.log.slice(from);
    if (changes.length > 0) tails.push({ bucketId: 1n, changes });
  };
  const next = async (): Promise<WatchNews> => (await stream.next()).value as WatchNews;
  return { tails, resyncs, stream, abort, commit, next };
}

/** What somebody knows who follows the contract. */
class Mirror {
  readonly known = new Map<string, { revision: bigint; values: string[] }>();
  revision: bigint | undefined;

  take(news: WatchNews): void {
    if (news.kind === "resync") {
      this.known.clear();
      this.revision = undefined;
    }
    if (news.kind === "complete" || news.kind === "changes") this.revision = news.revision;
    const entries = news.kind === "entries" ? news.entries : [];
    const changed = news.kind === "changes" ? news.changes.map(({ entry }) => entry) : [];
    for (const entry of [...entries, ...changed]) {
      if (entry.revision <= (this.known.get(entry.key)?.revision ?? 0n)) continue;
      this.known.set(entry.key, { revision: entry.revision, values: valuesOf(entry) });
    }
  }

  get values(): Record<string, string[]> {
    const pairs = [...this.known].map(([key, { values }]) => [key, values] as const);
    return Object.fromEntries(pairs.filter(([, values]) => values.length > 0));
  }
}

function truth(fake: FakeBucket): Record<string, string[]> {
  const pairs = [...fake.entries].map(([key, entry]) => [key, valuesOf(entry)] as const);
  return Object.fromEntries(pairs.filter(([, values]) => values.length > 0));
}

describe("watchBucket", () => {
  it("tells a watcher that was not reading what the log still has, without a gap", async () => {
    const fake = new FakeBucket("lww");
    const { commit, next, resyncs } = watching(fake);
    expect(await next()).toMatchObject({ kind: "complete" });
    const count = TAIL_CHANGES_MAX + 500;
    for (let i = 0; i < count; i += 1) commit([putOp(`k${i % 10}`, `${i}`)]);
    const seen: bigint[] = [];
    while (seen.length < count) {
      const news = await next();
      if (news.kind === "changes") seen.push(...news.changes.map(({ entry }) => entry.revision));
    }
    expect(seen).toEqual(Array.from({ length: count }, (_, i) => 2n + BigInt(i)));
    expect(resyncs).toEqual([]);
  });

  it("says that changes are missing once neither memory nor the log has them", async () => {
    const fake = new FakeBucket("lww");
    const { commit, next, resyncs } = watching(fake);
    await next();
    for (let i = 0; i <= TAIL_CHANGES_MAX; i += 1) commit([putOp("k", `${i}`)]);
    fake.trim(fake.bucket.revision - 1n);
    expect(await next()).toMatchObject({ kind: "resync", reason: "trimmed" });
    expect(await next()).toMatchObject({ kind: "entries", entries: [{ key: "k" }] });
    expect(await next()).toMatchObject({ kind: "complete", revision: fake.bucket.revision });
    expect(resyncs).toEqual(["trimmed"]);
  });

  it("ends when nobody listens any more, and holds nothing then", async () => {
    const { tails, stream, abort, next } = watching(new FakeBucket("lww"), 1n);
    expect(await next()).toMatchObject({ kind: "changes", changes: [] });
    const last = stream.next();
    abort.abort();
    expect(await last).toMatchObject({ done: true });
    expect(tails.size).toBe(0);
  });

  it("brings whoever follows it to the same state, whatever breaks, is cut off, or comes twice", async () => {
    const step = fc.oneof(
      {
        weight: 6,
        arbitrary: fc.record({
          do: fc.constant("write" as const),
          key: fc.integer({ min: 0, max: 5 }),
        }),
      },
      {
        weight: 2,
        arbitrary: fc.record({
          do: fc.constant("delete" as const),
          key: fc.integer({ min: 0, max: 5 }),
        }),
      },
      {
        weight: 5,
        arbitrary: fc.record({ do: fc.constant("read" as const), key: fc.constant(0) }),
      },
      {
        weight: 1,
        arbitrary: fc.record({ do: fc.constant("break" as const), key: fc.constant(0) }),
      },
      {
        weight: 1,
        arbitrary: fc.record({ do: fc.constant("trim" as const), key: fc.constant(0) }),
      },
      {
        weight: 1,
        arbitrary: fc.record({ do: fc.constant("lose" as const), key: fc.constant(0) }),
      },
    );
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 80 }), async (steps) => {
        const fake = new FakeBucket("lww");
        const mirror = new Mirror();
        let watch = watching(fake);
        /** Reads until there is nothing left to be told. */
        const readAll = async (): Promise<void> => {
          while (mirror.revision !== fake.bucket.revision) {
            const coming = watch.next();
            await new Promise((resolve) => setImmediate(resolve));
            // What another replica committed, and this one has not heard of, comes with the poll.
            watch.tails.skipTo(1n, fake.bucket.revision);
            mirror.take(await coming);
          }
        };
        for (const [at, one] of steps.entries()) {
          if (one.do === "write") watch.commit([putOp(`k${one.key}`, `v${at}`)]);
          if (one.do === "delete") watch.commit([{ kind: "delete", key: `k${one.key}` }]);
          if (one.do === "read") await readAll();
          if (one.do === "trim") fake.trim(fake.bucket.revision);
          // The changes of another replica, which nobody tells this one.
          if (one.do === "lose") fake.commit([putOp("k0", `lost${at}`)]);
          if (one.do === "break") {
            if (mirror.revision === undefined) mirror.known.clear();
            watch = watching(fake, mirror.revision);
          }
        }
        await readAll();
        expect(mirror.values).toEqual(truth(fake));
      }),
      { numRuns: 200 },
    );
  });
});
