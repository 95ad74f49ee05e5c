import { fromBinary } from "@bufbuild/protobuf";
import { AuditEntrySchema } from "@nexus/proto/common";
import { StateChangeKind, StatePolicy, StateWriteStatus } from "@nexus/proto/mesh";
import { waitFor } from "@nexus/testkit";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { MeshFixture, RunningRouter } from "./_router.ts";
import {
  getTexts,
  id,
  newBucket,
  openStateBed,
  put,
  reasonOf,
  type StateBed,
  type StateClient,
  stateClient,
  text,
  textOf,
  Watching,
} from "./_state.ts";

const { LWW, VECTOR, CAS, COUNTER } = StatePolicy;
const { APPLIED } = StateWriteStatus;
const SOON = { seconds: 0n, nanos: 30_000_000 };

let bed: StateBed;
let fixture: MeshFixture;
let router: RunningRouter;
let alice: StateClient;
/** The fence that holds; any other is lost. Undefined: the orchestrator is away. */
let held: bigint | undefined = 7n;

beforeAll(async () => {
  bed = await openStateBed(() => held);
  ({ fixture, router, alice } = bed);
});
afterAll(() => bed.close());

const get = (bucket: string, key: string, client = alice) => getTexts(client, bucket, key);

describe("buckets", () => {
  it("leaves an entry of the audit log for each change of it", async () => {
    const bucket = "audited";
    const request = { requestId: id(), bucket, policy: CAS };
    await alice.createBucket(request);
    await alice.createBucket(request);
    await alice.updateBucket({ requestId: id(), bucket, clearDefaultTtl: true });
    await alice.deleteBucket({ requestId: id(), bucket });
    const rows = await fixture.sql<{ draft: Buffer }>(
      "SELECT draft FROM audit_outbox ORDER BY entry_no",
    );
    const entries = rows
      .map(({ draft }) => fromBinary(AuditEntrySchema, draft))
      .filter(({ resource }) => resource === bucket);
    expect(entries.map(({ action, actor }) => [action.split("/")[1], actor])).toEqual([
      ["CreateBucket", "alice"],
      ["CreateBucket", "alice"],
      ["UpdateBucket", "alice"],
      ["DeleteBucket", "alice"],
    ]);
  });

  it("are made once, shown, listed, changed and deleted", async () => {
    const request = { requestId: id(), bucket: `b-${id()}`, policy: LWW };
    const { bucket: made } = await alice.createBucket(request);
    expect(made).toMatchObject({ policy: LWW, createdBy: "alice", keys: 0n });
    expect(made?.quota).toMatchObject({ keysMax: 10_000n, valueBytesMax: 262_144 });
    expect((await alice.createBucket(request)).bucket).toEqual(made);
    expect(await reasonOf(alice.createBucket({ ...request, policy: CAS }))).toBe(
      "REQUEST_ID_REUSED",
    );
    expect(await reasonOf(alice.createBucket({ ...request, requestId: id() }))).toBe(
      "STATE_BUCKET_EXISTS",
    );
    const change = { requestId: id(), bucket: request.bucket };
    const { bucket: changed } = await alice.updateBucket({
      ...change,
      quota: { keysMax: 5n },
      defaultTtl: { seconds: 60n },
    });
    expect(changed).toMatchObject({ defaultTtl: { seconds: 60n }, quota: { keysMax: 5n } });
    const kept = await alice.updateBucket({ ...change, clearDefaultTtl: true });
    expect(kept.bucket).toMatchObject({ quota: { keysMax: 5n } });
    expect(kept.bucket?.defaultTtl).toBeUndefined();
    const { buckets } = await alice.listBuckets({ page: { pageSize: 1000 } });
    expect(buckets.map(({ name }) => name)).toContain(request.bucket);
    expect((await alice.getBucket({ bucket: request.bucket })).bucket).toEqual(kept.bucket);
    expect(await alice.deleteBucket(change)).toMatchObject({ deleted: true });
    expect(await alice.deleteBucket(change)).toMatchObject({ deleted: false });
    const gone = await Promise.all(
      [
        alice.getBucket({ bucket: request.bucket }),
        alice.updateBucket(change),
        put(alice, request.bucket, "k", "v"),
        alice.getEntry({ bucket: request.bucket, key: "k" }),
        alice.listEntries({ bucket: request.bucket }),
      ].map(reasonOf),
    );
    expect(new Set(gone)).toEqual(new Set(["STATE_BUCKET_NOT_FOUND"]));
  });

  it("answer a repeat as the first call for a day, also when they are gone, or are somebody else's by then", async () => {
    const request = { requestId: id(), bucket: `b-${id()}`, policy: LWW };
    const { bucket } = await alice.createBucket(request);
    await alice.deleteBucket({ requestId: id(), bucket: request.bucket });
    const repeats = async () => {
      expect((await alice.createBucket(request)).bucket).toEqual(bucket);
      expect(await reasonOf(alice.createBucket({ ...request, policy: CAS }))).toBe(
        "REQUEST_ID_REUSED",
      );
    };
    await repeats();
    expect(await reasonOf(alice.getBucket({ bucket: request.bucket }))).toBe(
      "STATE_BUCKET_NOT_FOUND",
    );
    const carol = await stateClient(fixture, router, "carol");
    const { bucket: hers } = await carol.createBucket(request);
    expect(hers).toMatchObject({ createdBy: "carol" });
    await repeats();
    expect((await alice.getBucket({ bucket: request.bucket })).bucket).toEqual(hers);
    // The same id names another call for another bucket.
    const { bucket: other } = await alice.createBucket({ ...request, bucket: `b-${id()}` });
    expect(other?.name).not.toBe(request.bucket);
    await fixture.sql("UPDATE state_requests SET day = day - 2 WHERE bucket_id = 0");
    expect(await reasonOf(alice.createBucket(request))).toBe("STATE_BUCKET_EXISTS");
  });

  it("page by name", async () => {
    const carol = await stateClient(fixture, router, "carol", { ns: "pages" });
    for (const bucket of ["c", "a", "b"]) {
      await carol.createBucket({ requestId: id(), bucket, policy: CAS });
    }
    const first = await carol.listBuckets({ page: { pageSize: 2 } });
    expect(first.buckets.map(({ name }) => name)).toEqual(["a", "b"]);
    const pageToken = first.page?.nextPageToken ?? "";
    const second = await carol.listBuckets({ page: { pageSize: 2, pageToken } });
    expect(second.buckets.map(({ name }) => name)).toEqual(["c"]);
    expect(second.page?.nextPageToken).toBe("");
  });

  it("are those of the caller's namespace, and of its scopes", async () => {
    const bucket = await newBucket(alice, LWW);
    const other = await stateClient(fixture, router, "alice", { ns: "elsewhere" });
    expect(await reasonOf(other.getBucket({ bucket }))).toBe("STATE_BUCKET_NOT_FOUND");
    expect(await reasonOf(put(other, bucket, "k", "v"))).toBe("STATE_BUCKET_NOT_FOUND");
    const reader = await stateClient(fixture, router, "eve", { scopes: ["mesh:state:read"] });
    expect(await reasonOf(reader.getBucket({ bucket }))).toBe("none");
    expect(await reasonOf(put(reader, bucket, "k", "v"))).toBe("SCOPE_MISSING");
    expect(await reasonOf(reader.deleteBucket({ requestId: id(), bucket }))).toBe("SCOPE_MISSING");
    const writer = await stateClient(fixture, router, "eve", { scopes: ["mesh:state:write"] });
    expect(await reasonOf(writer.getEntry({ bucket, key: "k" }))).toBe("SCOPE_MISSING");
  });

  it("reserve their quota in the namespace", async () => {
    const dave = await stateClient(fixture, router, "dave", { ns: "small" });
    const bucket = await newBucket(dave, LWW, { quota: { keysMax: 300_000n } });
    const more = { requestId: id(), bucket: "more", policy: LWW, quota: { keysMax: 300_000n } };
    expect(await reasonOf(dave.createBucket(more))).toBe("STATE_NAMESPACE_QUOTA");
    const grown = { requestId: id(), bucket, quota: { keysMax: 600_000n } };
    expect(await reasonOf(dave.updateBucket(grown))).toBe("STATE_NAMESPACE_QUOTA");
    expect((await dave.getBucket({ bucket })).bucket?.quota?.keysMax).toBe(300_000n);
    expect(await reasonOf(dave.createBucket({ ...more, quota: { keysMax: 200_000n } }))).toBe(
      "none",
    );
  });
});

describe("a transaction", () => {
  it("writes all or nothing, later writes see earlier ones", async () => {
    const bucket = await newBucket(alice, CAS);
    const write = (key: string, value: string, expectedRevision: bigint) =>
      ({
        key,
        operation: { case: "put", value: { value: text(value), expectedRevision } },
      }) as const;
    const good = { requestId: id(), bucket, writes: [write("a", "1", 0n), write("b", "2", 0n)] };
    const { results } = await alice.transact(good);
    expect(results.map(({ status }) => status)).toEqual([APPLIED, APPLIED]);
    expect((await alice.transact(good)).results).toEqual(results);
    const revision = results[0]?.revision ?? 0n;
    const half = [write("a", "9", revision), write("b", "9", 1n)];
    const failed = alice.transact({ requestId: id(), bucket, writes: half });
    await expect(failed).rejects.toMatchObject({
      reason: "STATE_REVISION_MISMATCH",
      details: { metadata: { write: "1" } },
    });
    const guarded = alice.transact({
      requestId: id(),
      bucket,
      preconditions: [
        { key: "a", revision },
        { key: "c", revision: 3n },
      ],
      writes: [write("a", "9", revision)],
    });
    await expect(guarded).rejects.toMatchObject({ details: { metadata: { precondition: "1" } } });
    expect(await get(bucket, "a")).toEqual(["1"]);
    const chain = [write("n", "1", 0n), write("n", "2", revision + 2n)];
    await alice.transact({ requestId: id(), bucket, writes: chain });
    expect(await get(bucket, "n")).toEqual(["2"]);
    const { bucket: counted } = await alice.getBucket({ bucket });
    expect(counted).toMatchObject({ keys: 3n, revision: revision + 3n });
  });
});

describe("reads", () => {
  it("list by prefix in pages, and read many keys at once", async () => {
    const bucket = await newBucket(alice, LWW);
    const keys = ["a/1", "a/2", "a/3", "b/1", "A"];
    const writes = keys.map(
      (key) => ({ key, operation: { case: "put", value: { value: text(key) } } }) as const,
    );
    await alice.writeEntries({ requestId: id(), bucket, writes });
    const first = await alice.listEntries({ bucket, prefix: "a/", page: { pageSize: 2 } });
    expect(first.entries.map(({ key }) => key)).toEqual(["a/1", "a/2"]);
    const page = { pageSize: 2, pageToken: first.page?.nextPageToken ?? "" };
    const second = await alice.listEntries({ bucket, prefix: "a/", page });
    expect(second.entries.map(({ key }) => key)).toEqual(["a/3"]);
    expect(second.page?.nextPageToken).toBe("");
    expect(await reasonOf(alice.listEntries({ bucket, prefix: "b/", page }))).toBe(
      "PAGE_TOKEN_INVALID",
    );
    const all = await alice.listEntries({ bucket });
    expect(all.entries.map(({ key }) => key)).toEqual(["A", "a/1", "a/2", "a/3", "b/1"]);
    const many = await alice.batchGetEntries({ bucket, keys: ["b/1", "nothing", "A"] });
    expect(many.entries.map((entry) => textOf(entry))).toEqual([["A"], ["b/1"]]);
    expect(many.unreadKeys).toEqual([]);
  });

  it("cut large answers, and say how to go on", async () => {
    const bucket = await newBucket(alice, LWW);
    const value = { contentType: "application/octet-stream", data: new Uint8Array(250_000) };
    const keys = Array.from({ length: 12 }, (_, i) => `k${String(i).padStart(2, "0")}`);
    for (const key of keys) await alice.putEntry({ requestId: id(), bucket, key, put: { value } });
    const many = await alice.batchGetEntries({ bucket, keys });
    expect([...many.entries.map(({ key }) => key), ...many.unreadKeys]).toEqual(keys);
    expect(many.unreadKeys.length).toBeGreaterThan(0);
    const first = await alice.listEntries({ bucket });
    const pageToken = first.page?.nextPageToken ?? "";
    const second = await alice.listEntries({ bucket, page: { pageToken } });
    expect([...first.entries, ...second.entries].map(({ key }) => key)).toEqual(keys);
  });
});

describe("a value", () => {
  it("is kept by the bucket itself: a reference is refused, and leaves nothing", async () => {
    const bucket = await newBucket(alice, VECTOR);
    const reference = { sha256: new Uint8Array(32), sizeBytes: 1n };
    const value = { contentType: "text/plain", reference };
    const { bucket: before } = await alice.getBucket({ bucket });
    const request = { requestId: id(), bucket, key: "k" };
    const answers = [
      alice.putEntry({ ...request, put: { value } }),
      alice.resolveEntry({ ...request, resolve: { versionIds: [1n], value } }),
      alice.transact({
        requestId: id(),
        bucket,
        writes: [{ key: "k", operation: { case: "put", value: { value } } }],
      }),
    ];
    const reasons = await Promise.all(answers.map(reasonOf));
    expect(reasons).toEqual(answers.map(() => "STATE_VALUE_REFERENCE"));
    expect((await alice.getBucket({ bucket })).bucket).toEqual(before);
  });
});

describe("quotas", () => {
  it("leave room for an entry", async () => {
    const bucket = await newBucket(alice, LWW, { quota: { bytesMax: 1_024n } });
    await put(alice, bucket, "k".repeat(200), "1");
    const few = { bytesMax: 1_023n };
    const refused = [
      () => alice.createBucket({ requestId: id(), bucket: `b-${id()}`, policy: LWW, quota: few }),
      () => alice.updateBucket({ requestId: id(), bucket, quota: few }),
    ];
    for (const call of refused) {
      await expect(call()).rejects.toMatchObject({
        reason: "REQUEST_INVALID",
        details: {
          fieldViolations: [
            {
              field: "quota.bytes_max",
              description: "must be at least 1024, or 0 for the default",
            },
          ],
        },
      });
    }
  });

  it("refuse what is beyond them, and nothing else", async () => {
    const quota = { keysMax: 2n, bytesMax: 2_000n, valueBytesMax: 1_000 };
    const bucket = await newBucket(alice, LWW, { quota });
    await put(alice, bucket, "a", "1");
    await put(alice, bucket, "b", "1");
    expect(await reasonOf(put(alice, bucket, "c", "1"))).toBe("STATE_KEYS_QUOTA");
    expect(await reasonOf(put(alice, bucket, "a", "x".repeat(1_001)))).toBe(
      "STATE_VALUE_TOO_LARGE",
    );
    await put(alice, bucket, "a", "x".repeat(1_000));
    expect(await reasonOf(put(alice, bucket, "b", "x".repeat(1_000)))).toBe("STATE_BYTES_QUOTA");
    await alice.deleteEntry({ requestId: id(), bucket, key: "a" });
    await put(alice, bucket, "c", "1");
    // Deleted keys are remembered, and bounded too.
    await alice.deleteEntry({ requestId: id(), bucket, key: "c" });
    const names = ["d", "e"].map((key) => reasonOf(put(alice, bucket, key, "1")));
    expect((await Promise.all(names)).sort()).toEqual(["STATE_KEYS_QUOTA", "none"]);
    const counted = async () => (await alice.getBucket({ bucket })).bucket;
    await waitFor(async () => (await counted())?.tombstones === 0n, { what: "the deleted to go" });
    expect(await counted()).toMatchObject({ keys: 2n });
  });
});

describe("a time to live", () => {
  it("ends keys by database time, and says so to watchers", async () => {
    const bucket = await newBucket(alice, LWW, { defaultTtl: SOON });
    const watching = await new Watching(alice, { bucket }).started();
    await put(alice, bucket, "short", "v");
    await put(alice, bucket, "long", "v", { ttl: { seconds: 600n } });
    await waitFor(
      async () => (await reasonOf(alice.getEntry({ bucket, key: "short" }))) !== "none",
      {
        what: "the end of the key",
      },
    );
    await watching.untilChanges(3);
    const { kind, entry } = watching.changes[2] ?? {};
    expect(kind).toBe(StateChangeKind.EXPIRE);
    expect(entry).toMatchObject({ key: "short", deleted: true, lastChange: { principalId: "" } });
    expect(await get(bucket, "long")).toEqual(["v"]);
    expect((await alice.getBucket({ bucket })).bucket).toMatchObject({ keys: 1n });
    watching.stop();
  });
});

describe("a write in the name of a task", () => {
  it("is refused when the task is somebody else's, and when nobody can be asked", async () => {
    const bucket = await newBucket(alice, LWW);
    const write = (fence: bigint, key = "k") =>
      reasonOf(
        alice.putEntry({
          requestId: id(),
          bucket,
          key,
          put: { value: text(`${fence}`) },
          task: { taskId: "task_1", fence },
        }),
      );
    expect(await write(7n)).toBe("none");
    expect(await write(6n)).toBe("LEASE_LOST");
    held = 8n;
    expect(await write(8n)).toBe("none");
    held = undefined;
    expect(await write(9n)).toBe("LEASE_UNVERIFIED");
    // The orchestrator is wrong, or its answer is old: what a later attempt wrote stays all the same.
    held = 7n;
    expect(await write(7n)).toBe("LEASE_LOST");
    expect(await write(7n, "another")).toBe("none");
    expect(await get(bucket, "k")).toEqual(["8"]);
  });
});

describe("a caller that gave up", () => {
  it("finds its write done once, or not at all, when it asks again", async () => {
    const bucket = await newBucket(alice, COUNTER);
    const calls = Array.from({ length: 60 }, (_, i) => {
      const abort = new AbortController();
      const request = { requestId: `r${i}`, bucket, key: "c", increment: { delta: 1n } };
      const call = alice.incrementEntry(request, { signal: abort.signal });
      setImmediate(() => abort.abort());
      return reasonOf(call);
    });
    await Promise.all(calls);
    const repeats = Array.from({ length: 60 }, (_, i) =>
      alice.incrementEntry({ requestId: `r${i}`, bucket, key: "c", increment: { delta: 1n } }),
    );
    await Promise.all(repeats);
    expect((await alice.getEntry({ bucket, key: "c" })).entry?.counter).toBe(60n);
  });
});
