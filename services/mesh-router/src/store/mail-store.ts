/** Mailboxes in Postgres: one transaction for everything that one moment has to write. */
import {
  boolArray,
  byteaArray,
  int4Array,
  int8Array,
  type Pool,
  PostgresError,
  type Queryable,
  type QueryResult,
  type Statement,
  textArray,
  together,
  uuidArray,
  withTransaction,
} from "@nexus/postgres";
import { type Clock, NexusError } from "@nexus/shared";
import type { StoredMail } from "../domain/mail/mail.ts";
import {
  type CommittedMail,
  type InsertResult,
  type LoadedMail,
  type MailBatch,
  type MailInsert,
  type MailStore,
  nameKey,
  type ReceiverName,
} from "../domain/mail/mail-ports.ts";
import {
  BURY_EXPIRED,
  COUNT_MAIL,
  FIND_IDS,
  FIND_MAILBOXES,
  INSERT_MAIL,
  INSERT_MAIL_TO_MANY,
  LOAD_MAIL,
  MAKE_MAILBOXES,
  NOTE_IDS,
  NOTIFY_MAIL,
  PLAN_BY_KEY,
} from "./mail-sql.ts";
import { vacuumMail } from "./mail-table.ts";
import { applyWords } from "./mail-words.ts";

/** Channel by which replicas hear of each other's mail. */
export const MAIL_CHANNEL = "mesh_mail";

/** Repeats come together, of a sender whose stream broke: while some came of late, ids are looked up before a batch is written. */
const REPEATS_MS = 1_000;

/** A notice holds up to 8 000 bytes; a number has up to 19 digits. */
const NOTICE_IDS_MAX = 400;

/** What the store is made from. */
export interface MailStoreInit {
  readonly pool: Pool;
  readonly clock: Clock;
  /** This replica, as the rows of its sessions name it. */
  readonly routerId: string;
  /** A batch was written in vain, as some of its ids were known, and has to be written once more. */
  readonly onRewritten?: () => void;
}

/** What is known of ids that come again. */
interface Repeats {
  readonly init: MailStoreInit;
  expectedUntilMs: number;
}

/** The store, and what its loops do with it. */
export interface PostgresMailStore extends MailStore {
  /** Makes dead messages of up to `limit` messages whose time is over. Returns how many. */
  buryExpired(limit: number): Promise<number>;
  /** Dead rows that this replica knows of: its own of late, and those of everybody that its last vacuum left. */
  readonly dead: number;
  /** Frees what dead rows occupy, unless somebody else is at it. The signal cuts it off, also while it waits for a connection. False when
   * none was run.
   *
   * Errors: deadline when it takes longer than a statement may; unavailable when it is cut off. */
  vacuum(signal: AbortSignal): Promise<boolean>;
}

/** Creates the store. */
export function createMailStore(init: MailStoreInit): PostgresMailStore {
  const { pool } = init;
  const repeats: Repeats = { init, expectedUntilMs: 0 };
  let dead = 0;
  return {
    resolve: (names) => resolve(pool, names),
    count: async (mailboxIds) => {
      const { rows } = await queryByKey<{ mailbox_id: string; depth: number }>(pool, COUNT_MAIL, [
        int8Array(mailboxIds),
      ]);
      return new Map(rows.map((row) => [BigInt(row.mailbox_id), row.depth]));
    },
    commit: async (batch) => {
      const results = await commit(repeats, batch);
      dead += batch.done.length + batch.deaths.length + batch.failures.length;
      return results;
    },
    load: (...query) => load(init, ...query),
    buryExpired: async (limit) => {
      const { rowCount } = await pool.query(BURY_EXPIRED, [limit]);
      dead += rowCount;
      return rowCount;
    },
    get dead() {
      return dead;
    },
    vacuum: async (signal) => {
      const own = dead;
      const result = await vacuumMail(pool, signal);
      // Whoever is at it frees the others' as well: they are that one's to count.
      if (result.hasRun) dead += result.dead - own;
      return result.hasRun;
    },
  };
}

/** Asks one thing in one round trip, planned by key. */
async function queryByKey<R extends object>(
  pool: Pool,
  statement: Statement,
  values: readonly unknown[],
): Promise<QueryResult<R>> {
  return withTransaction(pool, async (client) => {
    const [, result] = await client.commitWith(
      client.query(PLAN_BY_KEY),
      client.query<R>(statement, values),
    );
    return result;
  });
}

async function resolve(
  pool: Pool,
  names: readonly ReceiverName[],
): Promise<ReadonlyMap<string, bigint>> {
  const namespaces = textArray(names.map(({ namespace }) => namespace));
  const agentIds = textArray(names.map(({ agentId }) => agentId));
  const known = boolArray(names.map((name) => name.known));
  await pool.query(MAKE_MAILBOXES, [namespaces, agentIds, known]);
  const { rows } = await pool.query<MailboxRow>(FIND_MAILBOXES, [namespaces, agentIds]);
  return new Map(rows.map((row) => [nameKey(row.namespace, row.agent_id), BigInt(row.mailbox_id)]));
}

interface MailboxRow {
  readonly mailbox_id: string;
  readonly namespace: string;
  readonly agent_id: string;
}

/** Writes the batch as if every id were new; only when one is not are the known ones looked for. */
async function commit(repeats: Repeats, batch: MailBatch): Promise<CommittedMail> {
  const { init } = repeats;
  const { clock, onRewritten } = init;
  const written: Written = { results: new Map(), kept: new Set() };
  const { results } = written;
  const inserts = withoutTwins(batch.inserts, results);
  const isExpected = inserts.length > 0 && clock.nowMs() < repeats.expectedUntilMs;
  let isRepeated = false;
  try {
    if (isExpected) isRepeated = await commitFresh(init, { ...batch, inserts }, written);
    else await write(init, { ...batch, inserts }, written);
  } catch (error) {
    isRepeated = isIdKnown(error);
    if (isRepeated) {
      onRewritten?.();
      await commitFresh(init, { ...batch, inserts }, written);
    } else if (!isRefusal(error)) throw error;
    else await commitApart(init, { ...batch, inserts }, written);
  } finally {
    if (isRepeated) repeats.expectedUntilMs = clock.nowMs() + REPEATS_MS;
  }
  return {
    results: batch.inserts.map((insert) => results.get(insert) as InsertResult),
    kept: written.kept,
  };
}

/** What a commit has done so far. */
interface Written {
  readonly results: Map<MailInsert, InsertResult>;
  kept: ReadonlySet<bigint>;
}

/** Of two messages with one id in a batch the first is the message. */
function withoutTwins(
  inserts: readonly MailInsert[],
  results: Map<MailInsert, InsertResult>,
): MailInsert[] {
  const byKey = new Map<string, MailInsert>();
  return inserts.filter((insert) => {
    const twin = byKey.get(insert.key);
    byKey.set(insert.key, twin ?? insert);
    if (twin === undefined) return true;
    results.set(insert, sameOrNot(twin.bodyHash === insert.bodyHash));
    return false;
  });
}

function sameOrNot(isSame: boolean): InsertResult {
  return { kind: isSame ? "duplicate" : "conflict" };
}

/** Some ids of the batch had been stored before. The error names the partition that has them. */
function isIdKnown(error: unknown): boolean {
  if (!NexusError.is(error, "exists") || !(error.cause instanceof PostgresError)) return false;
  return error.cause.table?.startsWith("message_ids") === true;
}

/** Says whether the database refuses what it was given, whatever its own state. */
function isRefusal(error: unknown): boolean {
  const { kind } = NexusError.from(error);
  return kind === "invalid" || kind === "internal" || kind === "precondition";
}

/** Writes what is new of a batch; says whether anything was not. */
async function commitFresh(
  init: MailStoreInit,
  batch: MailBatch,
  written: Written,
): Promise<boolean> {
  const keys = uuidArray(batch.inserts.map(({ key }) => key));
  const { rows } = await queryByKey<{ key: string; body_hash: string }>(init.pool, FIND_IDS, [
    keys,
  ]);
  const known = new Map(rows.map((row) => [row.key.replaceAll("-", ""), BigInt(row.body_hash)]));
  const inserts = batch.inserts.filter((insert) => {
    const hash = known.get(insert.key);
    if (hash !== undefined) written.results.set(insert, sameOrNot(hash === insert.bodyHash));
    return hash === undefined;
  });
  const fresh = { ...batch, inserts };
  try {
    await write(init, fresh, written);
  } catch (error) {
    if (!isRefusal(error)) throw error;
    await commitApart(init, fresh, written);
  }
  return known.size > 0;
}

/** One message that cannot be stored must spoil only itself. */
async function commitApart(init: MailStoreInit, batch: MailBatch, written: Written): Promise<void> {
  await write(init, { ...batch, inserts: [] }, written);
  const { notify } = batch;
  const rest = { done: [], failures: [], deaths: [], notify, left: new Set<bigint>() };
  for (const insert of batch.inserts) {
    const one = { ...rest, inserts: [insert] };
    try {
      await write(init, one, written);
    } catch (error) {
      if (isIdKnown(error)) await commitFresh(init, one, written);
      else if (isRefusal(error)) written.results.set(insert, { kind: "unstorable" });
      else throw error;
    }
  }
}

async function write(init: MailStoreInit, batch: MailBatch, written: Written): Promise<void> {
  const { inserts } = batch;
  // One round trip, COMMIT included: whatever must not be stored is refused by the database itself.
  const [seqs, kept] = await withTransaction(init.pool, async (client) => {
    const [, stored, unburied] = await client.commitWith(
      client.query(PLAN_BY_KEY),
      insertMail(client, inserts),
      applyWords(client, batch, init.routerId),
      notify(client, batch),
    );
    return [stored, unburied] as const;
  });
  written.kept = kept.size > 0 ? kept : written.kept;
  let at = 0;
  for (const insert of inserts) {
    const next = at + insert.mailboxIds.length;
    written.results.set(insert, { kind: "stored", seqs: seqs.slice(at, next) });
    at = next;
  }
}

async function insertMail(client: Queryable, inserts: readonly MailInsert[]): Promise<bigint[]> {
  if (inserts.length === 0) return [];
  const mailboxIds = inserts.flatMap((insert) => insert.mailboxIds);
  const columns = [
    int8Array(mailboxIds),
    textArray(inserts.map(({ sender }) => sender)),
    byteaArray(inserts.map(({ envelope }) => envelope)),
    int8Array(inserts.map(({ ttlMs }) => Math.round(ttlMs))),
    int4Array(inserts.map(({ ackWaitMs }) => Math.round(ackWaitMs))),
  ];
  const isEachToOne = inserts.every((insert) => insert.mailboxIds.length === 1);
  const [, stored] = await together(
    client.query(NOTE_IDS, [
      uuidArray(inserts.map(({ key }) => key)),
      int8Array(inserts.map(({ bodyHash }) => bodyHash)),
    ]),
    isEachToOne
      ? client.query<{ seq: string }>(INSERT_MAIL, columns)
      : client.query<{ seq: string }>(INSERT_MAIL_TO_MANY, [...columns, ...partsOf(inserts)]),
  );
  return stored.rows.map(({ seq }) => BigInt(seq));
}

/** The first and last places, from 1, of each message's mailboxes among all of them. */
function partsOf(inserts: readonly MailInsert[]): Buffer[] {
  const firsts: number[] = [];
  const lasts: number[] = [];
  let last = 0;
  for (const { mailboxIds } of inserts) {
    firsts.push(last + 1);
    last += mailboxIds.length;
    lasts.push(last);
  }
  return [int4Array(firsts), int4Array(lasts)];
}

async function notify(client: Queryable, batch: MailBatch): Promise<void> {
  const written = new Set(batch.inserts.flatMap(({ mailboxIds }) => mailboxIds));
  const ids = [...new Set([...batch.left, ...[...batch.notify].filter((id) => written.has(id))])];
  const notices: Promise<unknown>[] = [];
  for (let from = 0; from < ids.length; from += NOTICE_IDS_MAX) {
    const notice = ids.slice(from, from + NOTICE_IDS_MAX).join(",");
    notices.push(client.query(NOTIFY_MAIL, [MAIL_CHANNEL, notice]));
  }
  await together(...notices);
}

/** A row that found no room has nothing but its name. */
interface LoadedRow {
  readonly mailbox_id: string;
  readonly seq: string;
  readonly sender: string | null;
  readonly envelope: Buffer;
  readonly ack_wait_ms: number;
  readonly failures: number;
  readonly left_ms: number;
  readonly due_in_ms: number | null;
}

async function load(
  { pool, clock }: MailStoreInit,
  ...[mailboxIds, exclude, { rowsMax, bytesMax }]: Parameters<MailStore["load"]>
): Promise<LoadedMail> {
  const values = [int8Array(mailboxIds), int8Array(exclude), rowsMax, bytesMax];
  const { rows: found } = await queryByKey<LoadedRow>(pool, LOAD_MAIL, values);
  const nowMs = clock.nowMs();
  const rows: StoredMail[] = [];
  const cut = new Set<bigint>();
  for (const row of found) {
    const mailboxId = BigInt(row.mailbox_id);
    if (row.sender === null) cut.add(mailboxId);
    // What is behind a row that found no room has to wait for it.
    else if (!cut.has(mailboxId)) rows.push(toMail({ ...row, sender: row.sender }, nowMs));
  }
  return { rows, cut };
}

function toMail(row: LoadedRow & { readonly sender: string }, nowMs: number): StoredMail {
  return {
    mailboxId: BigInt(row.mailbox_id),
    seq: BigInt(row.seq),
    sender: row.sender,
    envelope: row.envelope,
    expiresAtMs: nowMs + row.left_ms,
    ackWaitMs: row.ack_wait_ms,
    failures: row.failures,
    dueAtMs: row.due_in_ms === null || row.due_in_ms <= 0 ? 0 : nowMs + row.due_in_ms,
  };
}
