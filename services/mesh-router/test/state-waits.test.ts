import { timestampMs } from "@bufbuild/protobuf/wkt";
import { createPool } from "@nexus/postgres";
import { StatePolicy } from "@nexus/proto/mesh";
import { waitFor } from "@nexus/testkit";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { MeshFixture } from "./_router.ts";
import {
  getTexts,
  id,
  newBucket,
  openStateBed,
  put,
  reasonOf,
  type StateBed,
  type StateClient,
  text,
} from "./_state.ts";

const { LWW } = StatePolicy;

let bed: StateBed;
let fixture: MeshFixture;
let alice: StateClient;

beforeAll(async () => {
  bed = await openStateBed();
  ({ fixture, alice } = bed);
});
afterAll(() => bed.close());

const get = (bucket: string, key: string, client = alice) => getTexts(client, bucket, key);

describe("a bucket that somebody holds", () => {
  it("fails its own calls together, and keeps none of the others from their commit", async () => {
    const [bucket, other] = [await newBucket(alice, LWW), await newBucket(alice, LWW)];
    // Other tests share the server, with databases of their own.
    const holder =
      "FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()";
    const hold = reasonOf(
      fixture.sql(`
      DO $$ BEGIN
        PERFORM 1 FROM state_buckets WHERE name = '${bucket}' FOR UPDATE;
        PERFORM pg_sleep(60);
      END $$`),
    );
    const isHeld = async () => {
      const rows = await fixture.sql(`SELECT 1 ${holder}`);
      return rows.length > 0;
    };
    await waitFor(isHeld, { what: "the bucket to be held" });
    const held = Array.from({ length: 50 }, (_, i) => reasonOf(put(alice, bucket, `k${i}`, "v")));
    const free = reasonOf(put(alice, other, "k", "v"));
    expect(new Set(await Promise.all(held))).toEqual(new Set(["LOCK_NOT_AVAILABLE"]));
    expect(await free).toBe("none");
    await fixture.sql(`SELECT pg_cancel_backend(pid) ${holder}`);
    expect(await hold).toBe("DATABASE_TIMEOUT");
    expect(await reasonOf(put(alice, bucket, "k", "v"))).toBe("none");
  });
});

describe("a write that waits for another's commit", () => {
  it.each([
    ["that changes it", "UPDATE state_buckets SET bytes = bytes WHERE name = $1"],
    ["that changes nothing", "SELECT FROM state_buckets WHERE name = $1 FOR UPDATE"],
  ])("is of after one %s", async (_, statement) => {
    const bucket = await newBucket(alice, LWW);
    const { adminUrl, schema } = fixture.database;
    const pool = createPool({ url: adminUrl, max: 1, applicationName: "holder", schema });
    const holder = await pool.connect();
    await holder.query("BEGIN");
    await holder.query(statement, [bucket]);
    const written = put(alice, bucket, "k", "v");
    const waits = "wait_event_type = 'Lock' AND datname = current_database()";
    const isWaiting = async () =>
      (await fixture.sql(`SELECT 1 FROM pg_stat_activity WHERE ${waits}`)).length > 0;
    await waitFor(isWaiting, { what: "the write to wait" });
    const clock = "SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::float8 AS ms";
    const committedMs = (await holder.query<{ ms: number }>(clock)).rows[0]?.ms;
    await holder.query("COMMIT");
    holder.release();
    await pool.close();
    await written;
    const { entry } = await alice.getEntry({ bucket, key: "k" });
    const writeTime = entry?.versions[0]?.origin?.writeTime;
    expect(writeTime && timestampMs(writeTime)).toBeGreaterThanOrEqual(committedMs ?? Infinity);
  });
});

describe("a key whose row was taken away behind the router's back", () => {
  it("is not written, and nothing that was to be committed with it", async () => {
    const bucket = await newBucket(alice, LWW);
    await put(alice, bucket, "lost", "1");
    await fixture.sql("DELETE FROM state_entries WHERE key = 'lost'");
    const before = (await alice.getBucket({ bucket })).bucket;
    const writes = ["new", "lost"].map(
      (key) => ({ key, operation: { case: "put", value: { value: text("2") } } }) as const,
    );
    expect(await reasonOf(alice.transact({ requestId: id(), bucket, writes }))).toBe(
      "DATABASE_ERROR",
    );
    expect((await alice.getBucket({ bucket })).bucket).toEqual(before);
    expect(await reasonOf(alice.getEntry({ bucket, key: "new" }))).toBe("STATE_KEY_NOT_FOUND");
    await put(alice, bucket, "lost", "3");
    expect(await get(bucket, "lost")).toEqual(["3"]);
  });
});
