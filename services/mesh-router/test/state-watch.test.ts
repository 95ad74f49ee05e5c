import { createListener, createPool } from "@nexus/postgres";
import { StateChangeKind, StatePolicy, StateResyncReason } from "@nexus/proto/mesh";
import { waitFor } from "@nexus/testkit";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { MeshFixture, type RunningRouter } from "./_router.ts";
import {
  id,
  newBucket,
  reasonOf,
  type StateClient,
  stateClient,
  text,
  textOf,
  Watching,
} from "./_state.ts";

const { LWW, VECTOR, CAS, COUNTER } = StatePolicy;

let fixture: MeshFixture;
let first: RunningRouter;
let second: RunningRouter;
let alice: StateClient;
let bob: StateClient;

beforeAll(async () => {
  fixture = await MeshFixture.create();
  // What comes from the other replica comes by a notice, not because the database was asked in time.
  const rarely = { stateAskIntervalMs: 3_600_000 };
  const small = { stateLogChangesMax: 200, stateTombstonesKeptMs: 400, ...rarely };
  first = await fixture.start({ routerId: "first", ...small });
  second = await fixture.start({ routerId: "second", ...small });
  alice = await stateClient(fixture, first, "alice");
  bob = await stateClient(fixture, second, "bob");
});
afterAll(() => fixture.close());

function put(client: StateClient, bucket: string, key: string, value: string, more: object = {}) {
  return client.putEntry({ requestId: id(), bucket, key, put: { value: text(value), ...more } });
}

/** Many writes of one call. */
function putMany(client: StateClient, bucket: string, keys: readonly string[]) {
  const writes = keys.map(
    (key) => ({ key, operation: { case: "put", value: { value: text(key) } } }) as const,
  );
  return client.writeEntries({ requestId: id(), bucket, writes });
}

const names = (prefix: string, count: number) =>
  Array.from({ length: count }, (_, i) => `${prefix}${String(i).padStart(3, "0")}`);

/** The revision of each key, as a watcher comes to know it. */
function stateOf({ messages }: Watching): Map<string, bigint> {
  const known = new Map<string, bigint>();
  for (const { resync, entries, changes } of messages) {
    if (resync !== undefined) known.clear();
    for (const entry of [...entries, ...changes.map((change) => change.entry)]) {
      if (entry === undefined || entry.revision <= (known.get(entry.key) ?? 0n)) continue;
      known.set(entry.key, entry.revision);
    }
  }
  return known;
}

/** Revisions must follow each other. */
function expectNoGap(revisions: readonly bigint[]): void {
  const [from = 0n] = revisions;
  expect(revisions).toEqual(revisions.map((_, at) => from + BigInt(at)));
}

describe("a watch", () => {
  it("tells keys as they are, then changes, of both replicas and in their order", async () => {
    const bucket = await newBucket(alice, LWW);
    await putMany(alice, bucket, names("old", 5));
    const here = await new Watching(alice, { bucket }).started();
    const there = await new Watching(bob, { bucket }).started();
    const calls = names("k", 60).map((key, at) =>
      put(at % 2 === 0 ? alice : bob, bucket, key, key),
    );
    await Promise.all(calls);
    await alice.deleteEntry({ requestId: id(), bucket, key: "old000" });
    for (const watching of [here, there]) {
      await watching.untilChanges(61);
      expect(watching.entries.map(({ key }) => key)).toEqual(names("old", 5));
      expectNoGap(watching.revisions);
      expect(watching.changes.at(-1)).toMatchObject({
        kind: StateChangeKind.DELETE,
        entry: { key: "old000", deleted: true },
      });
      watching.stop();
    }
    expect(here.revisions).toEqual(there.revisions);
  });

  it("goes on with the next change after a break, at another replica too", async () => {
    const bucket = await newBucket(alice, LWW);
    const before = await new Watching(alice, { bucket, prefix: "k" }).started();
    await putMany(alice, bucket, [...names("k", 10), ...names("x", 10)]);
    await before.untilChanges(10);
    before.stop();
    await putMany(bob, bucket, names("k", 7));
    const resumeRevision = before.revision;
    const after = await new Watching(bob, { bucket, prefix: "k", resumeRevision }).started();
    await after.untilChanges(7);
    await put(alice, bucket, "k999", "last");
    await after.untilChanges(8);
    expect(after.entries).toEqual([]);
    expect(after.messages.some(({ resync }) => resync !== undefined)).toBe(false);
    expect(after.changes.map(({ entry }) => entry?.key)).toEqual([...names("k", 7), "k999"]);
    after.stop();
  });

  it("is told of a gap when the log was cut, and given the keys as they are", async () => {
    const bucket = await newBucket(alice, LWW);
    const { bucket: made } = await alice.getBucket({ bucket });
    for (let round = 0; round < 8; round += 1) await putMany(alice, bucket, names("k", 50));
    const cut = async () =>
      ((await alice.getBucket({ bucket })).bucket?.oldestRevision ?? 0n) > 150n;
    await waitFor(cut, { what: "the log to be cut", timeoutMs: 20_000 });
    const resumeRevision = made?.revision ?? 0n;
    const watching = await new Watching(bob, { bucket, resumeRevision }).started();
    expect(watching.messages[0]?.resync?.reason).toBe(StateResyncReason.TRIMMED);
    expect(watching.entries.map(({ key }) => key)).toEqual(names("k", 50));
    await put(alice, bucket, "k000", "news");
    await watching.untilChanges(1);
    expect(textOf(watching.changes.at(-1)?.entry)).toEqual(["news"]);
    watching.stop();
  });

  it("does not mistake a bucket that was made anew for the old one, and ends with its bucket", async () => {
    const bucket = await newBucket(alice, CAS);
    await put(alice, bucket, "k", "v", { expectedRevision: 0n });
    const watching = await new Watching(bob, { bucket }).started();
    await alice.deleteBucket({ requestId: id(), bucket });
    await waitFor(() => watching.ended, { what: "the end of the watch" });
    expect(watching.error?.reason).toBe("STATE_BUCKET_NOT_FOUND");
    await alice.createBucket({ requestId: id(), bucket, policy: CAS });
    const resumeRevision = watching.revision;
    const again = await new Watching(bob, { bucket, resumeRevision }).started();
    expect(again.messages[0]?.resync).toBeDefined();
    expect(again.entries).toEqual([]);
    again.stop();
    const ahead = await new Watching(bob, { bucket, resumeRevision: 10n ** 12n }).started();
    expect(ahead.messages[0]?.resync?.reason).toBe(StateResyncReason.UNKNOWN_REVISION);
    ahead.stop();
  });

  it("that does not read slows nobody down, and comes to the same state", async () => {
    const bucket = await newBucket(alice, LWW, { quota: { bytesMax: 100_000_000n } });
    const slow = await new Watching(alice, { bucket }).started();
    const fast = await new Watching(alice, { bucket }).started();
    slow.paused = true;
    for (let round = 0; round < 10; round += 1) {
      const value = { contentType: "x", data: new Uint8Array(30_000).fill(round) };
      const writes = names("k", 50).map(
        (key) => ({ key, operation: { case: "put", value: { value } } }) as const,
      );
      await alice.writeEntries({ requestId: id(), bucket, writes });
      await fast.untilChanges((round + 1) * 50);
    }
    expectNoGap(fast.revisions);
    expect(slow.changes.length).toBeLessThan(fast.changes.length);
    slow.paused = false;
    await waitFor(() => slow.revision === fast.revision, { what: "the slow one to catch up" });
    expect(stateOf(slow)).toEqual(stateOf(fast));
    slow.stop();
    fast.stop();
  });

  it("has a limit for each bucket", async () => {
    const bucket = await newBucket(alice, LWW, { quota: { watchersMax: 1 } });
    const watching = await new Watching(alice, { bucket }).started();
    const second = new Watching(alice, { bucket });
    await waitFor(() => second.ended, { what: "the refusal" });
    expect(second.error?.reason).toBe("STATE_WATCHER_LIMIT");
    watching.stop();
    await waitFor(
      async () => {
        const third = await new Watching(alice, { bucket }).started();
        third.stop();
        return true;
      },
      { what: "the place to be free" },
    );
  });
});

describe("two replicas on one database", () => {
  it("lose no write: what was concurrent stands side by side", async () => {
    const bucket = await newBucket(alice, VECTOR);
    const calls = names("v", 40).map((value, at) =>
      put(at % 2 === 0 ? alice : bob, bucket, "k", value),
    );
    await Promise.all(calls);
    const { entry } = await bob.getEntry({ bucket, key: "k" });
    expect(textOf(entry).sort()).toEqual(names("v", 40));
    await put(alice, bucket, "k", "all", { context: entry?.context });
    expect(textOf((await bob.getEntry({ bucket, key: "k" })).entry)).toEqual(["all"]);
  });

  it("let one writer win, in a bucket that compares", async () => {
    const bucket = await newBucket(alice, CAS);
    let won = 0;
    for (let round = 0; round < 5; round += 1) {
      const { entry } = await alice
        .getEntry({ bucket, key: "k" })
        .catch(() => ({ entry: undefined }));
      const expectedRevision = entry?.revision ?? 0n;
      const calls = Array.from({ length: 20 }, (_, at) =>
        put(at % 2 === 0 ? alice : bob, bucket, "k", `${at}`, { expectedRevision }).then(
          () => (won += 1),
          () => 0,
        ),
      );
      await Promise.all(calls);
    }
    expect(won).toBe(5);
  });

  it("add up exactly, when every call is made at both of them", async () => {
    const bucket = await newBucket(alice, COUNTER);
    const sameBob = await stateClient(fixture, second, "alice");
    const calls = Array.from({ length: 50 }, (_, at) => {
      const request = { requestId: `r${at}`, bucket, key: "c", increment: { delta: BigInt(at) } };
      return Promise.all([alice.incrementEntry(request), sameBob.incrementEntry(request)]);
    });
    for (const [one, other] of await Promise.all(calls)) expect(one).toEqual(other);
    expect((await bob.getEntry({ bucket, key: "c" })).entry?.counter).toBe(1_225n);
  });

  it("read what was written at the other one as soon as it was answered", async () => {
    const bucket = await newBucket(alice, LWW);
    for (const value of names("v", 20)) {
      await put(alice, bucket, "k", value);
      // Both remember the key after some of these.
      for (const client of [bob, alice, bob, bob]) {
        expect(textOf((await client.getEntry({ bucket, key: "k" })).entry)).toEqual([value]);
        const many = await client.batchGetEntries({ bucket, keys: ["k"] });
        expect(many.entries.map(textOf)).toEqual([[value]]);
      }
    }
    const ended = put(alice, bucket, "k", "short", { ttl: { seconds: 0n, nanos: 40_000_000 } });
    await ended;
    const isGone = async () =>
      (await bob.batchGetEntries({ bucket, keys: ["k"] })).entries.length === 0;
    await waitFor(isGone, { what: "the end of the key" });
    expect(await reasonOf(alice.getEntry({ bucket, key: "k" }))).toBe("STATE_KEY_NOT_FOUND");
  });

  it("are told of a commit by the database where no bus joins them", async () => {
    const bucket = await newBucket(alice, LWW);
    const notices: string[] = [];
    const listener = createListener({
      url: fixture.database.url,
      channels: ["mesh_state"],
      onNotify: (_channel, notice) => notices.push(notice),
      onReconnect: () => undefined,
      logger: { warn: () => undefined },
    });
    await listener.ready;
    await put(alice, bucket, "k", "v");
    const [row] = await fixture.sql<{ bucket_id: string }>(
      `SELECT bucket_id FROM state_buckets WHERE name = '${bucket}'`,
    );
    const isTold = () => notices.some((notice) => notice.endsWith(`/${row?.bucket_id}`));
    await waitFor(isTold, { what: "the notice" });
    await listener.close();
  });

  it("remember no key that the other one has changed, ended or forgotten since", async () => {
    const bucket = await newBucket(alice, LWW);
    const keys = names("k", 4);
    const ttl = { seconds: 0n, nanos: 30_000_000 };
    let seed = 7;
    const pick = (below: number): number => {
      seed = (seed * 48_271) % 2_147_483_647;
      return seed % below;
    };
    for (let step = 0; step < 160; step += 1) {
      const client = pick(3) === 0 ? bob : alice;
      const key = keys[pick(keys.length)] as string;
      const act = pick(4);
      if (act === 0) await client.deleteEntry({ requestId: id(), bucket, key });
      else if (act === 1) await put(client, bucket, `short-${key}`, "v".repeat(pick(50)), { ttl });
      else await put(client, bucket, key, "v".repeat(pick(50)));
      if (step % 16 === 0) {
        // Deleted keys may be forgotten between the two.
        const asked = { bucket, keys };
        expect(await alice.batchGetEntries(asked)).toEqual(await bob.batchGetEntries(asked));
      }
    }
    const [counts] = await fixture.sql(
      `SELECT b.keys = count(*) FILTER (WHERE NOT e.deleted) AS keys,
         b.tombstones = count(*) FILTER (WHERE e.deleted) AS tombstones, b.bytes = sum(e.size_bytes) AS bytes
       FROM state_buckets b JOIN state_entries e USING (bucket_id) WHERE b.name = '${bucket}' GROUP BY b.bucket_id`,
    );
    expect(counts).toEqual({ keys: true, tombstones: true, bytes: true });
  });

  it("wait for a bucket that somebody holds with its own calls only", async () => {
    const [stuck, free] = [await newBucket(alice, LWW), await newBucket(alice, LWW)];
    const { adminUrl, schema } = fixture.database;
    const pool = createPool({ url: adminUrl, max: 1, applicationName: "holder", schema });
    const holder = await pool.connect();
    await holder.query("BEGIN");
    await holder.query("SELECT FROM state_buckets WHERE name = $1 FOR UPDATE", [stuck]);
    const answered: string[] = [];
    const write = async (client: StateClient, bucket: string, key: string) => {
      const reason = await reasonOf(put(client, bucket, key, "v"));
      answered.push(`${key} ${reason}`);
    };
    // One batch; what comes while its held call waits is another, and behind it in that bucket.
    const held = write(alice, stuck, "held");
    await Promise.all([write(alice, free, "beside"), write(bob, free, "elsewhere")]);
    const behind = write(alice, stuck, "behind");
    await write(alice, free, "later");
    await held;
    expect(answered.toSorted()).toEqual([
      "beside none",
      "elsewhere none",
      "held LOCK_NOT_AVAILABLE",
      "later none",
    ]);
    expect(answered.at(-1)).toBe("held LOCK_NOT_AVAILABLE");
    await holder.query("ROLLBACK");
    holder.release();
    await pool.close();
    await behind;
    expect(answered.at(-1)).toBe("behind none");
    expect(await reasonOf(put(alice, stuck, "k", "v"))).toBe("none");
  });
});
