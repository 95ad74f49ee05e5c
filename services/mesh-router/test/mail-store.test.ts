import { createListener, createPool, type Pool } from "@nexus/postgres";
import { createManualClock, createSilentLogger } from "@nexus/shared";
import { waitFor } from "@nexus/testkit";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { InsertResult, MailInsert } from "../src/domain/mail/mail-ports.ts";
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
import { MAIL_CHANNEL, type PostgresMailStore } from "../src/store/mail-store.ts";
import { insertOf, NO_WORDS, newMailboxes, openMailStore } from "./_mail.ts";
import { MeshFixture } from "./_router.ts";

let fixture: MeshFixture;

beforeAll(async () => {
  fixture = await MeshFixture.create();
});
afterAll(() => fixture.close());

function seqsOf(results: readonly InsertResult[]): bigint[] {
  return results.flatMap((result) => (result.kind === "stored" ? result.seqs : []));
}

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
    const { store } = openMailStore(fixture);
    const mailboxIds = await newMailboxes(store, "twice");
    const commit = async (...inserts: readonly MailInsert[]) =>
      (await store.commit({ ...NO_WORDS, inserts })).results;
    const [first, second] = [insertOf(mailboxIds), insertOf(mailboxIds)];
    const [stored] = await commit(first);
    const seq = stored?.kind === "stored" ? stored.seqs[0] : undefined;
    await fixture.sql(`SELECT setval('mail_seq', ${seq}, false)`);
    await expect(commit(second)).rejects.toMatchObject({ kind: "exists" });
    expect(await commit(second)).toMatchObject([{ kind: "stored" }]);
    const unstorable = insertOf(mailboxIds, { ttlMs: 9e17 });
    const kinds = (await commit(first, unstorable)).map(({ kind }) => kind);
    expect(kinds).toEqual(["duplicate", "unstorable"]);
    await fixture.sql(`DELETE FROM mail WHERE mailbox_id = ${mailboxIds[0]}`);
  });

  it("looks ids up first for a second after some came again, so that no batch of them is written in vain", async () => {
    const clock = createManualClock();
    let rewritten = 0;
    const onRewritten = () => {
      rewritten += 1;
    };
    const { store } = openMailStore(fixture, 1, { clock, onRewritten });
    const mailboxIds = await newMailboxes(store, "again");
    const sent = Array.from({ length: 4 }, () => insertOf(mailboxIds));
    const kindsOf = async (...inserts: readonly MailInsert[]) =>
      (await store.commit({ ...NO_WORDS, inserts })).results.map(({ kind }) => kind);
    await kindsOf(...sent);
    const repeat = async (at: number) => {
      const kinds = await kindsOf(insertOf(mailboxIds), sent[at] as MailInsert);
      expect(kinds).toEqual(["stored", "duplicate"]);
      return rewritten;
    };
    expect(await repeat(0)).toBe(1);
    clock.advance(999);
    expect(await repeat(1)).toBe(1);
    clock.advance(999);
    expect(await repeat(2)).toBe(1);
    clock.advance(1_000);
    expect(await kindsOf(insertOf(mailboxIds))).toEqual(["stored"]);
    expect(await repeat(3)).toBe(2);
    await fixture.sql(`DELETE FROM mail WHERE mailbox_id = ${mailboxIds[0]}`);
  });

  it("stores a message to many in the mailbox of each, between those to one", async () => {
    const { store } = openMailStore(fixture);
    const boxes = await newMailboxes(store, "x", "y", "z");
    const [x, y, z] = boxes as [bigint, bigint, bigint];
    const insert = (sender: string, ...mailboxIds: bigint[]) =>
      insertOf(mailboxIds, { sender, envelope: Buffer.from(sender) });
    const inserts = [
      insert("one", x),
      insert("all", x, y, z),
      insert("two", z, y),
      insert("last", y),
    ];
    const { results } = await store.commit({ ...NO_WORDS, inserts });
    const found = await fixture.sql<{ mailbox_id: string; seq: string; sender: string }>(
      "SELECT mailbox_id, seq, sender FROM mail WHERE sender = convert_from(envelope, 'UTF8') ORDER BY seq",
    );
    const stored = found.map(({ mailbox_id, seq, sender }) => [
      BigInt(mailbox_id),
      BigInt(seq),
      sender,
    ]);
    const seqs = seqsOf(results);
    const expected = inserts.flatMap(({ mailboxIds, sender }) =>
      mailboxIds.map((id) => [id, sender]),
    );
    expect(stored).toEqual(expected.map(([id, sender], at) => [id, seqs[at], sender]));
    const done = found.map(({ mailbox_id, seq }) => ({
      mailboxId: BigInt(mailbox_id),
      seq: BigInt(seq),
    }));
    await store.commit({ ...NO_WORDS, done, inserts: [] });
  });

  it("tells of more mailboxes than a notice holds, and of those that were left", async () => {
    const { store } = openMailStore(fixture, 2);
    const notices: string[] = [];
    const listener = createListener({
      ...{ url: fixture.database.url, channels: [MAIL_CHANNEL], logger: createSilentLogger() },
      ...{ onNotify: (_channel, notice) => notices.push(notice), onReconnect: () => undefined },
    });
    fixture.onClose(() => listener.close());
    await listener.ready;
    const words = Array.from({ length: 450 }, (_, at) => `many-${at}`);
    const all = await newMailboxes(store, ...words);
    const mailboxIds = all.slice(1);
    const news = { notify: new Set(mailboxIds), left: new Set(all.slice(0, 1)) };
    await store.commit({ ...NO_WORDS, ...news, inserts: [insertOf(mailboxIds)] });
    await waitFor(() => notices.length === 2, { what: "the notices" });
    const told = notices.flatMap((notice) => notice.split(",")).map(BigInt);
    expect(new Set(told)).toEqual(new Set(all));
    await fixture.sql(`DELETE FROM mail WHERE mailbox_id IN (${mailboxIds.join(",")})`);
  });
});

describe("a read of mailboxes", () => {
  it("is bounded in bytes, begins with the oldest of each, and says where there is more", async () => {
    const { store } = openMailStore(fixture, 2);
    const boxes = await newMailboxes(store, "big-a", "big-b");
    const [first, second] = boxes as [bigint, bigint];
    const envelope = Buffer.alloc(100_000);
    const inserts = Array.from({ length: 6 }, () => insertOf(boxes, { envelope }));
    await store.commit({ ...NO_WORDS, inserts });
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
  const DEAD_ROWS = 200;

  /** Stores and deletes messages of 1 000 bytes. */
  async function churn(store: PostgresMailStore, mailboxId: bigint): Promise<void> {
    const envelope = Buffer.alloc(1_000);
    const inserts = Array.from({ length: DEAD_ROWS }, () => insertOf([mailboxId], { envelope }));
    const seqs = seqsOf((await store.commit({ ...NO_WORDS, inserts })).results);
    const done = seqs.map((seq) => ({ mailboxId, seq }));
    await store.commit({ ...NO_WORDS, done, inserts: [] });
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
    const { store, pool } = openMailStore(fixture, 3);
    const [mailboxId] = await newMailboxes(store, "gone");
    return [store, pool, mailboxId as bigint];
  }

  /** Runs while somebody else holds what a statement takes. */
  async function whileHeld(statement: string, act: () => Promise<void>): Promise<void> {
    const { adminUrl, schema } = fixture.database;
    const admins = createPool({ url: adminUrl, max: 1, applicationName: "admin", schema });
    fixture.onClose(() => admins.close());
    const holder = await admins.connect();
    await holder.query("BEGIN");
    await holder.query(statement);
    await act();
    await holder.query("ROLLBACK");
    holder.release();
  }

  it("frees what was deleted, as the router's own role", async () => {
    const [store, , mailboxId] = await openStore();
    const sizes: number[] = [];
    for (let round = 0; round < 3; round += 1) {
      await churn(store, mailboxId);
      const rows = await fixture.sql<{ size: string }>("SELECT pg_relation_size('mail') AS size");
      sizes.push(Number(rows[0]?.size));
      expect(store.dead).toBeGreaterThanOrEqual(DEAD_ROWS);
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
    expect(store.dead).toBeGreaterThanOrEqual(DEAD_ROWS);
    await reader.query("COMMIT");
    reader.release();
    await freeAll(store);
  });

  it("that is skipped leaves others' dead rows to whoever is at it", async () => {
    const { store, pool } = openMailStore(fixture);
    const [other, , mailboxId] = await openStore();
    await freeAll(other);
    await churn(store, mailboxId);
    await pool.query("SELECT pg_stat_force_next_flush()");
    const areCounted = async () => {
      const rows = await fixture.sql<{ dead: number }>(
        "SELECT pg_stat_get_dead_tuples('mail'::regclass)::int AS dead",
      );
      return (rows[0]?.dead ?? 0) >= DEAD_ROWS;
    };
    await waitFor(areCounted, { what: "the server to count" });
    await whileHeld("LOCK TABLE mail IN SHARE UPDATE EXCLUSIVE MODE", async () => {
      expect(await other.vacuum(going)).toBe(false);
    });
    expect(other.dead).toBe(0);
    await freeAll(store);
  });

  it("is cut off by its signal", async () => {
    const [store] = await openStore();
    // Holds an index, for which a vacuum waits.
    await whileHeld("ALTER INDEX mail_by_expiry SET TABLESPACE pg_default", async () => {
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
    });
  });

  it("is cut off while it waits for a connection, which it gives back when it comes", async () => {
    const { store, pool } = openMailStore(fixture);
    const taken = await pool.connect();
    const stop = new AbortController();
    const vacuuming = store.vacuum(stop.signal);
    stop.abort();
    await expect(vacuuming).rejects.toMatchObject({ kind: "unavailable" });
    await expect(store.vacuum(stop.signal)).rejects.toMatchObject({ kind: "unavailable" });
    taken.release();
    await waitFor(() => pool.stats().idle === 1, { what: "the connection" });
    expect(await store.vacuum(going)).toBe(true);
  });
});
