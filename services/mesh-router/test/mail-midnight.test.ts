/** Ids of messages where one day's partition ends and the next begins. */
import type { Pool } from "@nexus/postgres";
import { waitFor } from "@nexus/testkit";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { InsertResult, MailInsert } from "../src/domain/mail/mail-ports.ts";
import { dailyTables, keepDays, planDays } from "../src/store/mail-partitions.ts";
import type { PostgresMailStore } from "../src/store/mail-store.ts";
import { insertOf, NO_WORDS, newMailboxes, openMailStore } from "./_mail.ts";
import { MeshFixture } from "./_router.ts";

const DAY_MS = 86_400_000;
const SECOND_MS = 1_000;
const HOUR_MS = 3_600_000;
/** The next one; both days have their partitions. */
const MIDNIGHT_MS = (Math.floor(Date.now() / DAY_MS) + 1) * DAY_MS;

let fixture: MeshFixture;
let mailboxIds: bigint[];

beforeAll(async () => {
  fixture = await MeshFixture.create();
  const { store, pool } = openMailStore(fixture);
  await keepDays(pool, dailyTables(7 * DAY_MS));
  mailboxIds = await newMailboxes(store, "bob");
  // In front of the server's own for those who ask for it.
  await pool.query(
    `CREATE FUNCTION now() RETURNS timestamptz STABLE LANGUAGE sql
       AS $$ SELECT to_timestamp(current_setting('test.now_ms')::bigint / 1000.0) $$`,
  );
});
afterAll(() => fixture.close());

/** A store whose database has this moment, from midnight on. */
class StoreAt {
  readonly #store: PostgresMailStore;
  readonly #pool: Pool;

  private constructor({ store, pool }: ReturnType<typeof openMailStore>) {
    this.#store = store;
    this.#pool = pool;
  }

  static async open(atMs: number): Promise<StoreAt> {
    const opened = openMailStore(fixture);
    await opened.pool.query(`SET search_path = ${fixture.database.schema}, pg_catalog`);
    const store = new StoreAt(opened);
    await store.goTo(atMs);
    return store;
  }

  async goTo(atMs: number): Promise<void> {
    await this.#pool.query(`SET test.now_ms = ${MIDNIGHT_MS + atMs}`);
  }

  async commit(...inserts: readonly MailInsert[]): Promise<InsertResult["kind"][]> {
    const { results } = await this.#store.commit({ ...NO_WORDS, inserts });
    return results.map(({ kind }) => kind);
  }
}

async function daysOf({ key }: MailInsert): Promise<number[]> {
  const rows = await fixture.sql<{ day_ms: number }>(
    `SELECT (extract(epoch FROM day) * 1000)::float8 AS day_ms FROM message_ids WHERE key = '${key}' ORDER BY day`,
  );
  return rows.map(({ day_ms }) => (day_ms - MIDNIGHT_MS) / DAY_MS);
}

/** Runs what stores mail until all of it waits for one who holds the table, then lets it go on. */
async function together<T>(...commits: readonly (() => Promise<T>)[]): Promise<T[]> {
  const { pool } = openMailStore(fixture);
  const holder = await pool.connect();
  await holder.query("BEGIN");
  // Whoever stores mail has entered its ids by then.
  await holder.query("LOCK TABLE mail IN SHARE MODE");
  const running: Promise<T>[] = [];
  for (const commit of commits) {
    running.push(commit());
    const areWaiting = async () => {
      const waiting = await fixture.sql(
        "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()",
      );
      return waiting.length === running.length;
    };
    await waitFor(areWaiting, { what: `${running.length} commits to wait` });
  }
  await holder.query("COMMIT");
  holder.release();
  return Promise.all(running);
}

describe("an id that is used twice at once, around midnight", () => {
  it.each([
    ["the day before", -SECOND_MS, SECOND_MS],
    ["the day after", SECOND_MS, -SECOND_MS],
    ["the last moment of the day", -1, HOUR_MS - 1],
    ["a moment before a clock that goes back", HOUR_MS - 1, -1],
  ])("is stored once, first on %s", async (_, firstAtMs, secondAtMs) => {
    const [first, second] = [await StoreAt.open(firstAtMs), await StoreAt.open(secondAtMs)];
    const insert = insertOf(mailboxIds);
    const kinds = await together(
      () => first.commit(insert),
      () => second.commit({ ...insert }),
    );
    expect(kinds.flat()).toEqual(["stored", "duplicate"]);
  });

  it("is not for another message, and spoils no other of its batch", async () => {
    const [first, second] = [await StoreAt.open(-SECOND_MS), await StoreAt.open(SECOND_MS)];
    const [one, two] = [insertOf(mailboxIds), insertOf(mailboxIds)];
    const kinds = await together(
      () => first.commit(one, insertOf(mailboxIds)),
      () => second.commit(insertOf(mailboxIds), { ...one, bodyHash: 2n }, two),
    );
    expect(kinds).toEqual([
      ["stored", "stored"],
      ["stored", "conflict", "stored"],
    ]);
  });

  it("does not deadlock, in whatever order two replicas bring their batches", async () => {
    const [first, second] = [await StoreAt.open(-SECOND_MS), await StoreAt.open(SECOND_MS)];
    const inserts = Array.from({ length: 20 }, () => insertOf(mailboxIds));
    const kinds = await together(
      () => first.commit(...inserts),
      () => second.commit(...inserts.toReversed()),
    );
    expect(kinds.map((all) => new Set(all))).toEqual([new Set(["stored"]), new Set(["duplicate"])]);
  });
});

describe("an id that was stored", () => {
  it.each([
    ["a moment ago, yesterday", -1, 1],
    ["yesterday", -HOUR_MS, 2 * HOUR_MS],
    ["almost 24 h ago", 0, DAY_MS - 1],
    ["before the clock went back over midnight", 1, -1],
  ])("%s is known", async (_, storedAtMs, usedAtMs) => {
    const store = await StoreAt.open(storedAtMs);
    const insert = insertOf(mailboxIds);
    expect(await store.commit(insert)).toEqual(["stored"]);
    await store.goTo(usedAtMs);
    expect(await store.commit(insert)).toEqual(["duplicate"]);
    expect(await store.commit({ ...insert, bodyHash: 2n })).toEqual(["conflict"]);
  });

  it("is entered under two days in the first hour, and under one in the others", async () => {
    const store = await StoreAt.open(0);
    const moments = [-1, 0, HOUR_MS - 1, HOUR_MS, DAY_MS - 1] as const;
    const days: number[][] = [];
    for (const atMs of moments) {
      await store.goTo(atMs);
      const insert = insertOf(mailboxIds);
      await store.commit(insert);
      days.push(await daysOf(insert));
    }
    expect(days).toEqual([[-1], [-1, 0], [-1, 0], [0], [0]]);
  });
});

describe("the days of ids", () => {
  const [ids, calls] = dailyTables(7 * DAY_MS);
  const names = (created: readonly Date[]) =>
    created.map((day) => (day.getTime() - MIDNIGHT_MS) / DAY_MS);

  it("begin the day before: new ids are entered there, too", () => {
    if (ids === undefined || calls === undefined) throw new Error("no tables");
    expect(names(planDays([], MIDNIGHT_MS, ids).create)).toEqual([-1, 0, 1, 2]);
    expect(names(planDays([], MIDNIGHT_MS, calls).create)).toEqual([0, 1, 2]);
  });
});
