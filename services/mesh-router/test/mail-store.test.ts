import { randomUUID } from "node:crypto";
import { createListener, createPool, type Pool } from "@nexus/postgres";
import { createSilentLogger } from "@nexus/shared";
import { waitFor } from "@nexus/testkit";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  BURY_MAIL,
  COUNT_MAIL,
  DELETE_MAIL,
  FIND_IDS,
  LOAD_MAIL,
  NOTE_FAILURES,
  NOTE_IDS,
  PLAN_BY_KEY,
} from "../src/store/mail-sql.ts";
import { createMailStore, MAIL_CHANNEL, type PostgresMailStore } from "../src/store/mail-store.ts";
import { MeshFixture } from "./_router.ts";

let fixture: MeshFixture;

beforeAll(async () => {
  fixture = await MeshFixture.create();
});
afterAll(() => fixture.close());

const newKey = () => randomUUID().replaceAll("-", "");
/** A name that no other test uses. */
const name = (word: string) => `${word}-${randomUUID().slice(0, 8)}`;

/** How the database would do it, in the eyes of statistics that say the tables are as they are now. */
async function planOf(statement: string, types: string, values: string): Promise<string> {
  const { adminUrl, schema } = fixture.database;
  const pool = createPool({ url: adminUrl, max: 1, applicationName: "planner", schema });
  const client = await pool.connect();
  await client.query("BEGIN");
  await client.query(PLAN_BY_KEY);
  await client.query(`PREPARE it(${types}) AS ${statement}`);
  const { rows } = await client.query<{ "QUERY PLAN": string }>(`EXPLAIN EXECUTE it(${values})`);
  await client.query("ROLLBACK");
  client.release();
  await pool.close();
  return rows.map((row) => row["QUERY PLAN"]).join("\n");
}

describe("plans", () => {
  const load = [LOAD_MAIL.text, "bigint[], bigint[], int, bigint", "'{}', '{}', 1, 1"] as const;

  async function expectWalks(): Promise<void> {
    const ids = await planOf(NOTE_IDS.text, "uuid[], bigint[]", "'{}', '{}'");
    expect(ids).toMatch(/Index Cond: \(\(key = t\.key\)/);
    const found = await planOf(FIND_IDS.text, "uuid[]", "'{}'");
    expect(found).toMatch(/Index Cond: \(\(key = t\.key\)/);
    const loaded = await planOf(...load);
    expect(loaded).toMatch(/Index Scan using mail_pkey on mail x /);
    expect(loaded).toMatch(/Index Scan using mail_pkey on mail x_1/);
    // The oldest come first by the index: nothing is sorted to find them.
    expect(loaded).not.toMatch(/Sort Key: x\.seq/);
    const counted = await planOf(COUNT_MAIL.text, "bigint[]", "'{}'");
    const words = await Promise.all([
      planOf(DELETE_MAIL.text, "bigint[], bigint[]", "'{}', '{}'"),
      planOf(
        NOTE_FAILURES.text,
        "bigint[], bigint[], smallint[], bigint[], bigint[], text",
        "'{}', '{}', '{}', '{}', '{}', 'r'",
      ),
      planOf(
        BURY_MAIL.text,
        "bigint[], bigint[], smallint[], text[], text[], bigint[], text",
        "'{}', '{}', '{}', '{}', '{}', '{}', 'r'",
      ),
    ]);
    for (const plan of words) {
      expect(plan).toMatch(
        /Index Cond: \(\(ROW\(mailbox_id, seq\) >= ROW\(t\.mailbox_id, t\.seq\)/,
      );
    }
    for (const plan of [ids, found, loaded, counted, ...words]) {
      expect(plan).not.toMatch(/Materialize|Bitmap|Seq Scan/);
    }
  }

  it("walk by key, however empty the tables are when they are made", async () => {
    await fixture.sql("ANALYZE mail, message_ids");
    await expectWalks();
  });

  it("walk by key, where the table was empty at its last vacuum and has pages", async () => {
    await fixture.sql(
      `INSERT INTO mail (mailbox_id, sender, envelope, expires_at, ack_wait_ms)
       SELECT 1, 'alice', '', now() + interval '1 day', 1000 FROM generate_series(1, 5000)`,
    );
    await fixture.sql("DELETE FROM mail WHERE mailbox_id = 1");
    await fixture.sql("VACUUM (TRUNCATE false) mail");
    await expectWalks();
  });

  it("walk by key, however full the tables are of what one agent got", async () => {
    await fixture.sql(
      `INSERT INTO mail (mailbox_id, sender, envelope, expires_at, ack_wait_ms)
       SELECT 1, 'alice', '', now() + interval '1 day', 1000 FROM generate_series(1, 5000)`,
    );
    await fixture.sql("ANALYZE mail");
    await expectWalks();
    await fixture.sql("DELETE FROM mail WHERE mailbox_id = 1");
  });
});

describe("a commit of mail", () => {
  it("takes no other row that is there already for a known id", async () => {
    const { url, schema } = fixture.database;
    const pool = createPool({ url, max: 1, applicationName: "writer", schema });
    fixture.onClose(() => pool.close());
    const store = createMailStore({ pool, clock: { nowMs: () => Date.now() }, routerId: "r" });
    const agentId = name("twice");
    const names = [{ namespace: "default", agentId, known: true }];
    const mailboxIds = [...(await store.resolve(names)).values()];
    const insert = (key: string, ttlMs = 60_000) => ({
      ...{ mailboxIds, sender: "alice", envelope: Buffer.alloc(10), bodyHash: 1n, key },
      ...{ ttlMs, ackWaitMs: 1_000 },
    });
    const commit = (...inserts: ReturnType<typeof insert>[]) =>
      store.commit({
        done: [],
        failures: [],
        deaths: [],
        notify: new Set<bigint>(),
        left: new Set<bigint>(),
        inserts,
      });
    const [first, second] = [newKey(), newKey()];
    const [stored] = await commit(insert(first));
    const seq = stored?.kind === "stored" ? stored.seqs[0] : undefined;
    await fixture.sql(`SELECT setval('mail_seq', ${seq}, false)`);
    await expect(commit(insert(second))).rejects.toMatchObject({ kind: "exists" });
    expect(await commit(insert(second))).toMatchObject([{ kind: "stored" }]);
    const kinds = (await commit(insert(first), insert(newKey(), 9e17))).map(({ kind }) => kind);
    expect(kinds).toEqual(["duplicate", "unstorable"]);
    await fixture.sql(`DELETE FROM mail WHERE mailbox_id = ${mailboxIds[0]}`);
  });

  it("stores a message to many in the mailbox of each, between those to one", async () => {
    const { url, schema } = fixture.database;
    const pool = createPool({ url, max: 1, applicationName: "writer", schema });
    fixture.onClose(() => pool.close());
    const store = createMailStore({ pool, clock: { nowMs: () => Date.now() }, routerId: "r" });
    const names = ["x", "y", "z"].map((agentId) => ({
      ...{ namespace: "default", agentId: name(agentId), known: true },
    }));
    const boxes = [...(await store.resolve(names)).values()];
    const [x, y, z] = boxes as [bigint, bigint, bigint];
    const insert = (sender: string, ...mailboxIds: bigint[]) => ({
      ...{ mailboxIds, sender, envelope: Buffer.from(sender), bodyHash: 1n, key: newKey() },
      ...{ ttlMs: 60_000, ackWaitMs: 1_000 },
    });
    const inserts = [
      insert("one", x),
      insert("all", x, y, z),
      insert("two", z, y),
      insert("last", y),
    ];
    const words = {
      done: [],
      failures: [],
      deaths: [],
      notify: new Set<bigint>(),
      left: new Set<bigint>(),
    };
    const results = await store.commit({ ...words, inserts });
    const found = await fixture.sql<{ mailbox_id: string; seq: string; sender: string }>(
      "SELECT mailbox_id, seq, sender FROM mail WHERE sender = convert_from(envelope, 'UTF8') ORDER BY seq",
    );
    const stored = found.map(({ mailbox_id, seq, sender }) => [
      BigInt(mailbox_id),
      BigInt(seq),
      sender,
    ]);
    const seqs = results.flatMap((result) => (result.kind === "stored" ? result.seqs : []));
    const expected = inserts.flatMap(({ mailboxIds, sender }) =>
      mailboxIds.map((id) => [id, sender]),
    );
    expect(stored).toEqual(expected.map(([id, sender], at) => [id, seqs[at], sender]));
    const done = found.map(({ mailbox_id, seq }) => ({
      mailboxId: BigInt(mailbox_id),
      seq: BigInt(seq),
    }));
    await store.commit({ ...words, done, inserts: [] });
  });

  it("tells of more mailboxes than a notice holds, and of those that were left", async () => {
    const { url, schema } = fixture.database;
    const pool = createPool({ url, max: 2, applicationName: "writer", schema });
    fixture.onClose(() => pool.close());
    const store = createMailStore({ pool, clock: { nowMs: () => Date.now() }, routerId: "r" });
    const notices: string[] = [];
    const listener = createListener({
      ...{ url, channels: [MAIL_CHANNEL], logger: createSilentLogger() },
      ...{ onNotify: (_channel, notice) => notices.push(notice), onReconnect: () => undefined },
    });
    fixture.onClose(() => listener.close());
    await listener.ready;
    const prefix = name("many");
    const names = Array.from({ length: 450 }, (_, at) => ({
      ...{ namespace: "default", agentId: `${prefix}-${at}`, known: true },
    }));
    const all = [...(await store.resolve(names)).values()];
    const mailboxIds = all.slice(1);
    const insert = {
      ...{ mailboxIds, sender: "alice", envelope: Buffer.alloc(10), bodyHash: 1n },
      ...{ key: newKey(), ttlMs: 60_000, ackWaitMs: 1_000 },
    };
    const nothing = { done: [], failures: [], deaths: [], left: new Set(all.slice(0, 1)) };
    await store.commit({ inserts: [insert], ...nothing, notify: new Set(mailboxIds) });
    await waitFor(() => notices.length === 2, { what: "the notices" });
    const told = notices.flatMap((notice) => notice.split(",")).map(BigInt);
    expect(new Set(told)).toEqual(new Set(all));
    await fixture.sql(`DELETE FROM mail WHERE mailbox_id IN (${mailboxIds.join(",")})`);
  });
});

describe("a read of mailboxes", () => {
  it("is bounded in bytes, begins with the oldest of each, and says where there is more", async () => {
    const { url, schema } = fixture.database;
    const pool = createPool({ url, max: 2, applicationName: "reader", schema });
    fixture.onClose(() => pool.close());
    const store = createMailStore({ pool, clock: { nowMs: () => Date.now() }, routerId: "r" });
    const names = [name("big-a"), name("big-b")].map((agentId) => ({
      ...{ namespace: "default", agentId, known: true },
    }));
    const [first, second] = [...(await store.resolve(names)).values()] as [bigint, bigint];
    const envelope = Buffer.alloc(100_000);
    const inserts = Array.from({ length: 6 }, () => ({
      ...{ mailboxIds: [first, second], sender: "alice", envelope, bodyHash: 1n },
      ...{ key: newKey(), ttlMs: 60_000, ackWaitMs: 1_000 },
    }));
    const nothing = {
      done: [],
      failures: [],
      deaths: [],
      notify: new Set<bigint>(),
      left: new Set<bigint>(),
    };
    await store.commit({ inserts, ...nothing });
    const read: bigint[] = [];
    const limits = { rowsMax: 512, bytesMax: 250_000 };
    for (let more = true; more; ) {
      const { rows, cut } = await store.load([first, second], read, limits);
      if (read.length === 0) {
        expect(rows.map(({ mailboxId }) => mailboxId)).toEqual([first, first, second]);
        expect(cut).toEqual(new Set([first, second]));
      }
      expect(rows.length).toBeLessThanOrEqual(3);
      read.push(...rows.map(({ seq }) => seq));
      more = cut.size > 0;
    }
    expect(new Set(read).size).toBe(12);
    const one = await store.load([first, second], [], { rowsMax: 512, bytesMax: 1 });
    expect(one.rows).toHaveLength(1);
  });
});

describe("a vacuum", () => {
  const going = new AbortController().signal;

  /** Stores and deletes 200 messages of 1 000 bytes. */
  async function churn(store: PostgresMailStore, mailboxId: bigint): Promise<void> {
    const insert = () => ({
      ...{ mailboxIds: [mailboxId], sender: "alice", envelope: Buffer.alloc(1_000), bodyHash: 1n },
      ...{ key: newKey(), ttlMs: 60_000, ackWaitMs: 1_000 },
    });
    const words = { failures: [], deaths: [], notify: new Set<bigint>(), left: new Set<bigint>() };
    const inserts = Array.from({ length: 200 }, insert);
    const results = await store.commit({ ...words, done: [], inserts });
    const seqs = results.flatMap((result) => (result.kind === "stored" ? result.seqs : []));
    const done = seqs.map((seq) => ({ mailboxId, seq }));
    await store.commit({ ...words, done, inserts: [] });
  }

  /** The server's count may be a second late. */
  async function freeAll(store: PostgresMailStore): Promise<void> {
    const isFree = async () => {
      await store.vacuum(going);
      return store.dead === 0;
    };
    await waitFor(isFree, { what: "a table without dead rows" });
  }

  async function openStore(): Promise<[PostgresMailStore, Pool, bigint]> {
    const { url, schema } = fixture.database;
    const pool = createPool({ url, max: 3, applicationName: "vacuum", schema });
    fixture.onClose(() => pool.close());
    const store = createMailStore({ pool, clock: { nowMs: () => Date.now() }, routerId: "r" });
    const names = [{ namespace: "default", agentId: name("gone"), known: true }];
    const [mailboxId] = [...(await store.resolve(names)).values()];
    return [store, pool, mailboxId as bigint];
  }

  it("frees what was deleted, as the router's own role", async () => {
    const [store, , mailboxId] = await openStore();
    const sizes: number[] = [];
    for (let round = 0; round < 3; round += 1) {
      await churn(store, mailboxId);
      const rows = await fixture.sql<{ size: string }>("SELECT pg_relation_size('mail') AS size");
      sizes.push(Number(rows[0]?.size));
      expect(store.dead).toBeGreaterThanOrEqual(200);
      expect(await store.vacuum(going)).toBe(true);
    }
    expect(sizes[2]).toBeLessThanOrEqual(sizes[0] as number);
    await freeAll(store);
  });

  it("knows what an old snapshot has it leave", async () => {
    const [store, pool, mailboxId] = await openStore();
    const reader = await pool.connect();
    await reader.query("BEGIN ISOLATION LEVEL REPEATABLE READ");
    await reader.query("SELECT count(*) FROM mail");
    await churn(store, mailboxId);
    await store.vacuum(going);
    expect(store.dead).toBeGreaterThanOrEqual(200);
    await reader.query("COMMIT");
    reader.release();
    await freeAll(store);
  });

  it("is cut off by its signal", async () => {
    const [store] = await openStore();
    const { adminUrl, schema } = fixture.database;
    const admins = createPool({ url: adminUrl, max: 1, applicationName: "admin", schema });
    fixture.onClose(() => admins.close());
    const holder = await admins.connect();
    await holder.query("BEGIN");
    // Holds an index, for which a vacuum waits.
    await holder.query("ALTER INDEX mail_by_expiry SET TABLESPACE pg_default");
    const stop = new AbortController();
    const vacuuming = store.vacuum(stop.signal);
    const isWaiting = async () => {
      const rows = await fixture.sql(
        "SELECT FROM pg_stat_activity WHERE query LIKE 'VACUUM%' AND wait_event_type = 'Lock'",
      );
      return rows.length > 0;
    };
    await waitFor(isWaiting, { what: "the vacuum" });
    stop.abort();
    await expect(vacuuming).rejects.toMatchObject({ kind: "unavailable" });
    await holder.query("ROLLBACK");
    holder.release();
  });
});
