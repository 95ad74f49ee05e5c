/** What each policy of a bucket makes of writes, on real Postgres. */
import { StatePolicy, StateWriteStatus } from "@nexus/proto/mesh";
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
} from "./_state.ts";

const { LWW, VECTOR, CAS, COUNTER } = StatePolicy;
const { APPLIED, SUPERSEDED, UNCHANGED, REFUSED } = StateWriteStatus;

let bed: StateBed;
let fixture: MeshFixture;
let router: RunningRouter;
let alice: StateClient;
let bob: StateClient;

beforeAll(async () => {
  bed = await openStateBed(() => 7n);
  ({ fixture, router, alice } = bed);
  bob = await stateClient(fixture, router, "bob");
});
afterAll(() => bed.close());

const get = (bucket: string, key: string, client = alice) => getTexts(client, bucket, key);

describe("an LWW bucket", () => {
  it("keeps the last write, and forgets what was deleted after a time", async () => {
    const bucket = await newBucket(alice, LWW);
    await put(alice, bucket, "k", "one");
    const { result } = await put(bob, bucket, "k", "two");
    expect(result).toMatchObject({ status: APPLIED, versions: 1 });
    expect(await get(bucket, "k")).toEqual(["two"]);
    const deletion = { requestId: id(), bucket, key: "k" };
    expect((await alice.deleteEntry(deletion)).result).toMatchObject({ status: APPLIED });
    expect(await reasonOf(alice.getEntry({ bucket, key: "k" }))).toBe("STATE_KEY_NOT_FOUND");
    const { entry } = await alice.getEntry({ bucket, key: "k", includeDeleted: true });
    expect(entry).toMatchObject({ deleted: true, lastChange: { principalId: "alice" } });
    expect((await alice.deleteEntry({ ...deletion, requestId: id() })).result?.status).toBe(
      UNCHANGED,
    );
    const forgotten = async () =>
      (await alice.getBucket({ bucket })).bucket?.tombstones === 0n &&
      (await reasonOf(alice.getEntry({ bucket, key: "k", includeDeleted: true }))) !== "none";
    await waitFor(forgotten, { what: "the tombstone to be forgotten" });
  });

  it("decides by the writers' time, late writes lose, also to a deletion", async () => {
    const bucket = await newBucket(alice, LWW);
    const now = BigInt(Date.now());
    const at = (physicalMs: bigint, logical = 0) => ({ time: { physicalMs, logical } });
    await put(alice, bucket, "k", "new", at(now, 1));
    const late = await put(bob, bucket, "k", "old", at(now, 0));
    expect(late.result?.status).toBe(SUPERSEDED);
    expect(textOf(late.result?.current)).toEqual(["new"]);
    expect((await put(bob, bucket, "k", "tie", at(now, 1))).result?.status).toBe(APPLIED);
    expect((await put(alice, bucket, "k", "tie", at(now, 1))).result?.status).toBe(SUPERSEDED);
    const gone = { requestId: id(), bucket, key: "never", delete: at(now, 5) };
    expect((await alice.deleteEntry(gone)).result?.status).toBe(APPLIED);
    expect((await put(bob, bucket, "never", "late", at(now, 4))).result?.status).toBe(SUPERSEDED);
    expect((await put(bob, bucket, "k", "now")).result?.status).toBe(APPLIED);
    expect(await reasonOf(put(bob, bucket, "k", "x", at(now + 60_000n)))).toBe(
      "STATE_TIME_INVALID",
    );
    expect(await reasonOf(put(bob, bucket, "k", "x", at(now - 60_000n)))).toBe(
      "STATE_TIME_INVALID",
    );
  });
});

describe("a CAS bucket", () => {
  it("changes what its writer has read, and shows the other value otherwise", async () => {
    const bucket = await newBucket(alice, CAS);
    expect(await reasonOf(put(alice, bucket, "k", "v"))).toBe("STATE_REVISION_REQUIRED");
    const first = await put(alice, bucket, "k", "one", { expectedRevision: 0n });
    const { revision = 0n } = first.result ?? {};
    expect(await reasonOf(put(bob, bucket, "k", "x", { expectedRevision: 0n }))).toBe(
      "STATE_REVISION_MISMATCH",
    );
    await put(bob, bucket, "k", "two", { expectedRevision: revision });
    const writes = [
      { key: "k", operation: { case: "put", value: { value: text("x"), expectedRevision: 1n } } },
      { key: "n", operation: { case: "put", value: { value: text("y"), expectedRevision: 0n } } },
    ] as const;
    const { results } = await alice.writeEntries({ requestId: id(), bucket, writes: [...writes] });
    expect(results.map(({ status }) => status)).toEqual([REFUSED, APPLIED]);
    expect(results[0]).toMatchObject({ reason: "STATE_REVISION_MISMATCH" });
    expect(textOf(results[0]?.current)).toEqual(["two"]);
  });

  it("has one winner among many at once", async () => {
    const bucket = await newBucket(alice, CAS);
    const writers = Array.from({ length: 40 }, (_, i) =>
      reasonOf(put(i % 2 === 0 ? alice : bob, bucket, "lock", `${i}`, { expectedRevision: 0n })),
    );
    const reasons = await Promise.all(writers);
    expect(reasons.filter((reason) => reason === "none")).toHaveLength(1);
    expect(new Set(reasons)).toEqual(new Set(["none", "STATE_REVISION_MISMATCH"]));
  });
});

describe("a VECTOR bucket", () => {
  it("keeps what writers had not seen, says who wrote it, and lets somebody resolve", async () => {
    const bucket = await newBucket(alice, VECTOR);
    const agent = await stateClient(fixture, router, "worker", { kind: "agent" });
    const mine = await put(alice, bucket, "k", "a1");
    await agent.putEntry({
      requestId: id(),
      bucket,
      key: "k",
      put: { value: text("w1") },
      task: { taskId: "task_1", fence: 7n },
    });
    const { entry } = await bob.getEntry({ bucket, key: "k" });
    expect(textOf(entry)).toEqual(["a1", "w1"]);
    expect(entry?.versions[1]?.origin).toMatchObject({
      principalId: "worker",
      taskId: "task_1",
      fence: 7n,
    });
    // Alice writes on what she wrote, and has not seen the other's.
    const context = mine.result?.context ?? new Uint8Array();
    const again = await put(alice, bucket, "k", "a2", { context });
    expect(again.result).toMatchObject({ versions: 2 });
    expect(await get(bucket, "k")).toEqual(["w1", "a2"]);
    const listed = await bob.listEntries({ bucket, onlyConflicts: true });
    expect(listed.entries.map(({ key }) => key)).toEqual(["k"]);
    const versionIds = listed.entries[0]?.versions.map(({ versionId }) => versionId) ?? [];
    const resolve = { versionIds, value: text("both") };
    const resolved = { requestId: id(), bucket, key: "k", resolve };
    const answer = await bob.resolveEntry(resolved);
    expect(answer.result).toMatchObject({ status: APPLIED, versions: 1 });
    expect(await bob.resolveEntry(resolved)).toEqual(answer);
    expect(await get(bucket, "k")).toEqual(["both"]);
    expect(await reasonOf(alice.resolveEntry({ ...resolved, requestId: id() }))).toBe(
      "STATE_VERSION_GONE",
    );
    // The value that stands for both has been seen by nobody but Bob.
    await put(alice, bucket, "k", "a3", { context: again.result?.context });
    expect(await get(bucket, "k")).toEqual(["both", "a3"]);
  });

  it("deletes what the caller had seen", async () => {
    const bucket = await newBucket(alice, VECTOR);
    const remove = (context?: Uint8Array) =>
      alice.deleteEntry({
        requestId: id(),
        bucket,
        key: "k",
        delete: { context: context ?? NOTHING },
      });
    const NOTHING = new Uint8Array();
    await put(alice, bucket, "k", "one");
    expect(await reasonOf(remove())).toBe("STATE_CONTEXT_REQUIRED");
    expect(await reasonOf(remove(new Uint8Array([1, 2, 3])))).toBe("STATE_CONTEXT_INVALID");
    const { entry } = await alice.getEntry({ bucket, key: "k" });
    await put(bob, bucket, "other", "x");
    const { entry: other } = await alice.getEntry({ bucket, key: "other" });
    expect(await reasonOf(remove(other?.context))).toBe("STATE_CONTEXT_INVALID");
    await put(bob, bucket, "k", "two");
    expect((await remove(entry?.context)).result).toMatchObject({ status: APPLIED, versions: 1 });
    expect(await get(bucket, "k")).toEqual(["two"]);
  });

  it("takes no more versions than can be read", async () => {
    const bucket = await newBucket(alice, VECTOR);
    const write = { key: "k", operation: { case: "put", value: { value: text("v") } } } as const;
    const writes = Array.from({ length: 65 }, () => write);
    const { results } = await alice.writeEntries({ requestId: id(), bucket, writes });
    expect(results.filter(({ status }) => status === APPLIED)).toHaveLength(64);
    expect(results.at(-1)?.reason).toBe("STATE_SIBLING_LIMIT");
  });
});

describe("a COUNTER bucket", () => {
  it("adds up, and once for each request", async () => {
    const bucket = await newBucket(alice, COUNTER);
    const add = (delta: bigint, requestId = id()) =>
      alice.incrementEntry({ requestId, bucket, key: "c", increment: { delta } });
    const first = await add(5n, "same");
    expect(first.result).toMatchObject({ status: APPLIED, counter: 5n });
    expect(await add(5n, "same")).toEqual(first);
    expect(await reasonOf(add(6n, "same"))).toBe("REQUEST_ID_REUSED");
    expect((await add(-8n)).result?.counter).toBe(-3n);
    expect((await alice.getEntry({ bucket, key: "c" })).entry?.counter).toBe(-3n);
    await add(2n ** 62n);
    expect(await reasonOf(add(2n ** 62n))).toBe("STATE_COUNTER_RANGE");
    expect(await reasonOf(add(2n ** 62n + 1n))).toBe("REQUEST_INVALID");
    expect(await reasonOf(put(alice, bucket, "c", "v"))).toBe("STATE_POLICY_MISMATCH");
  });

  it("is the only kind that adds", async () => {
    const bucket = await newBucket(alice, LWW);
    const increment = { requestId: id(), bucket, key: "k", increment: { delta: 1n } };
    expect(await reasonOf(alice.incrementEntry(increment))).toBe("STATE_POLICY_MISMATCH");
    const context = { context: new Uint8Array([1]) };
    expect(await reasonOf(put(alice, bucket, "k", "v", context))).toBe("STATE_POLICY_MISMATCH");
  });
});
