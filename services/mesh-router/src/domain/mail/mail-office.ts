/** Durable messages: what is to be stored, in which order, and what its senders learn. */
import type { Clock } from "@nexus/shared";
import { Fifo } from "../fifo.ts";
import {
  ACK_WAIT_DEFAULT_MS,
  MAIL_ACKS_WAITING,
  MAIL_BATCH,
  MAIL_BATCH_BYTES,
  MAIL_LOAD_BOXES,
  MAIL_LOAD_BYTES,
  MAIL_LOAD_ROWS,
  MAIL_POSTS_BYTES_MAX,
  MAIL_POSTS_MAX,
  MAIL_RESOLVE_BATCH,
  MAIL_TTL_DEFAULT_MS,
  MAILBOX_COUNT_FRESH_MS,
} from "../limits.ts";
import { DeadlineWheel } from "../message/deadline-wheel.ts";
import type { Letter, Verdict } from "../message/letter.ts";
import { Post, type Sender } from "../message/message.ts";
import { Room } from "../message/room.ts";
import type { MessageEvents } from "../ports.ts";
import type { Session } from "../session/session.ts";
import type { MailTerms } from "./mail.ts";
import type { MailBook, MailboxRecord } from "./mail-book.ts";
import type { MailDesk } from "./mail-desk.ts";
import type { MailJournal, MailWrites } from "./mail-journal.ts";
import { bodyHash, mailKey } from "./mail-key.ts";
import {
  type CommittedMail,
  type EncodeEnvelope,
  type InsertResult,
  type LoadedMail,
  type MailEvents,
  type MailStore,
  nameKey,
  type ReceiverName,
} from "./mail-ports.ts";
import { type Addressed, queued, toInsert, toRow } from "./mail-rows.ts";

/** What an OVERLOADED sender of durable messages is asked to wait: the receiver has to work off some of them. */
const RETRY_MS = 1_000;
const READ_LIMITS = { rowsMax: MAIL_LOAD_ROWS, bytesMax: MAIL_LOAD_BYTES };
const EXPIRED_TEXT = "it was not known to be stored in time";

/** What the office is made from. */
export interface MailOfficeInit {
  readonly store: MailStore;
  readonly book: MailBook;
  readonly desk: MailDesk;
  readonly journal: MailJournal;
  readonly events: MailEvents & MessageEvents;
  readonly clock: Clock;
  readonly mailboxMax: number;
  readonly encodeEnvelope: EncodeEnvelope;
  /** Says whether memory knows of an agent. */
  readonly isKnown: (namespace: string, agentId: string) => boolean;
  /** Something is to be written. */
  readonly onWork: () => void;
}

const TERMS_DEFAULT: MailTerms = { ttlMs: MAIL_TTL_DEFAULT_MS, ackWaitMs: ACK_WAIT_DEFAULT_MS };

/** Owns what waits for its commit. One transaction at a time: what comes meanwhile is the next one. */
export class MailOffice {
  readonly #init: MailOfficeInit;
  readonly #posts = new Fifo<Post>();
  readonly #deadlines: DeadlineWheel<Post>;
  /** Sessions whose mailbox is to be looked up. */
  readonly #arrivals = new Set<Session>();
  readonly #room = new Room(MAIL_POSTS_MAX, MAIL_POSTS_BYTES_MAX);

  constructor(init: MailOfficeInit) {
    this.#init = init;
    this.#deadlines = new DeadlineWheel(init.clock.nowMs());
  }

  /** Messages that wait for their commit. */
  get waiting(): number {
    return this.#posts.length;
  }

  /** Takes a durable message in. Its outcome goes to the sender. */
  post(sender: Sender, letter: Letter, toAgentIds: readonly string[]): void {
    const terms = letter.mail ?? TERMS_DEFAULT;
    if (!this.#room.fits(sender.namespace, letter.payload.byteLength)) {
      const text = "the router is full";
      this.#answer(sender, letter, { outcome: "overloaded", text, retryAfterMs: RETRY_MS });
      return;
    }
    const { clock, encodeEnvelope } = this.#init;
    const { namespace, principalId } = sender;
    const nowMs = clock.nowMs();
    const post = new Post({
      sender,
      letter,
      toAgentIds,
      terms,
      key: mailKey(namespace, principalId, letter.messageId),
      bodyHash: bodyHash(letter),
      envelope: encodeEnvelope(letter, principalId, nowMs),
      expiresAtMs: nowMs + letter.timeoutMs,
    });
    sender.unsettled.set(post.messageId, post);
    this.#deadlines.add(post);
    this.#posts.push(post);
    this.#room.shareOf(namespace).add(post.sizeBytes);
    this.#init.onWork();
  }

  /** A session began, or got a new stream: its mailbox is looked up and read. */
  arrived(session: Session): void {
    this.#arrivals.add(session);
    this.#init.onWork();
  }

  /** Settles what was not stored in time. It may still be. */
  expire(nowMs: number): void {
    for (const post of this.#deadlines.expire(nowMs)) {
      this.#settle(post, { outcome: "expired", text: EXPIRED_TEXT });
    }
    this.#init.desk.expire(nowMs);
    if (this.#init.journal.size > 0) this.#init.onWork();
  }

  /** True when there is enough to write that it should not wait for company. */
  get isPressed(): boolean {
    return this.#posts.length > 0 || this.#init.journal.size >= MAIL_ACKS_WAITING;
  }

  /** Writes and reads until nothing is left. One call at a time.
   *
   * Errors: what the store throws; everything that was not written is there for the next call. */
  async work(): Promise<void> {
    do await this.#round();
    while (this.#posts.length > 0 || this.#arrivals.size > 0);
  }

  async #round(): Promise<void> {
    const sessions = take(this.#arrivals, MAIL_RESOLVE_BATCH);
    const posts = this.#takePosts();
    const writes = this.#init.journal.take();
    let kept: ReadonlySet<bigint>;
    try {
      await this.#resolve(posts, sessions);
      for (const session of sessions) this.#open(session);
      kept = await this.#write(posts, writes);
    } catch (error) {
      for (const session of sessions) this.#arrivals.add(session);
      this.#putBack(posts);
      this.#init.journal.putBack(writes);
      throw error;
    }
    await this.#read();
    // Read again, but not now: an agent that came back is its old replica's until the table says so.
    for (const mailboxId of kept) this.#init.desk.refreshById(mailboxId, "soon");
  }

  #takePosts(): Post[] {
    const taken: Post[] = [];
    let bytes = 0;
    for (let next = this.#posts.peek(); next !== undefined; next = this.#posts.peek()) {
      // One to many is stored once for each of them.
      const rowsBytes = next.sizeBytes * next.toAgentIds.length;
      const isFull = taken.length >= MAIL_BATCH || bytes + rowsBytes > MAIL_BATCH_BYTES;
      if (isFull && taken.length > 0) break;
      this.#posts.shift();
      this.#room.shareOf(next.sender.namespace).drop(next.sizeBytes);
      if (next.over) continue;
      bytes += rowsBytes;
      taken.push(next);
    }
    return taken;
  }

  #putBack(posts: readonly Post[]): void {
    const later = this.#posts.remove(() => true);
    for (const post of [...posts, ...later]) this.#posts.push(post);
    for (const { sender, sizeBytes } of posts) {
      this.#room.shareOf(sender.namespace).add(sizeBytes);
    }
  }

  /** Finds the numbers of mailboxes that are not known yet. */
  async #resolve(posts: readonly Post[], sessions: readonly Session[]): Promise<void> {
    const { book, store, isKnown } = this.#init;
    const names = new Map<string, ReceiverName>();
    for (const { namespace, agentId } of sessions) {
      if (book.find(namespace, agentId) !== undefined) continue;
      names.set(nameKey(namespace, agentId), { namespace, agentId, known: true });
    }
    for (const { sender, toAgentIds } of posts) {
      const { namespace } = sender;
      for (const agentId of toAgentIds) {
        const key = nameKey(namespace, agentId);
        if (names.has(key) || book.find(namespace, agentId) !== undefined) continue;
        names.set(key, { namespace, agentId, known: isKnown(namespace, agentId) });
      }
    }
    if (names.size === 0) return;
    for (const [key, id] of await store.resolve([...names.values()])) book.add(key, id);
  }

  #open(session: Session): void {
    const record = this.#init.book.find(session.namespace, session.agentId);
    if (record !== undefined) this.#init.desk.open(record, session);
  }

  /** Returns the mailboxes of messages that could not be given up. */
  async #write(posts: readonly Post[], writes: MailWrites): Promise<ReadonlySet<bigint>> {
    const addressed = this.#findRecords(posts);
    await this.#count(addressed);
    const judged = this.#judge(addressed);
    const { done, failures, deaths, left } = writes;
    if (judged.length + done.length + failures.length + deaths.length + left.size === 0) {
      return NONE;
    }
    // An agent whose stream broke may be at another replica already.
    const away = judged.flatMap(({ records }) =>
      records.filter(({ reader }) => reader?.session.attached !== true),
    );
    const notify = new Set(away.map(({ mailboxId }) => mailboxId));
    const inserts = judged.map(toInsert);
    let committed: CommittedMail;
    try {
      committed = await this.#init.store.commit({ inserts, ...writes, notify });
    } catch (error) {
      // It may be stored all the same, and its sender's time over before that is known: then only the table has it.
      for (const record of judged.flatMap(({ records }) => records)) {
        record.depth -= 1;
        this.#init.desk.refresh(record);
      }
      throw error;
    }
    this.#apply(judged, committed.results);
    return committed.kept;
  }

  #findRecords(posts: readonly Post[]): Addressed[] {
    const found: Addressed[] = [];
    for (const post of posts) {
      const { namespace } = post.sender;
      const records = post.toAgentIds
        .map((agentId) => this.#init.book.find(namespace, agentId))
        .filter((record) => record !== undefined);
      if (records.length > 0) found.push({ post, records });
      else this.#settle(post, { outcome: "no_such_agent", text: "no such agent is known" });
    }
    return found;
  }

  /** Counts mailboxes anew that nobody here reads, or that are more than half full: other replicas write to them too. */
  async #count(addressed: readonly Addressed[]): Promise<void> {
    const { store, clock, mailboxMax } = this.#init;
    const staleBeforeMs = clock.nowMs() - MAILBOX_COUNT_FRESH_MS;
    const wanted = new Map<bigint, MailboxRecord>();
    for (const { records } of addressed) {
      for (const record of records) {
        const suspect = record.reader === undefined || record.depth * 2 > mailboxMax;
        const uncounted = record.countedAtMs === Number.NEGATIVE_INFINITY;
        if (record.countedAtMs <= staleBeforeMs && (suspect || uncounted)) {
          wanted.set(record.mailboxId, record);
        }
      }
    }
    if (wanted.size === 0) return;
    const counts = await store.count([...wanted.keys()]);
    for (const [id, record] of wanted) {
      record.depth = counts.get(id) ?? 0;
      record.countedAtMs = clock.nowMs();
    }
  }

  /** Leaves out mailboxes that are full, and counts the rest in. */
  #judge(addressed: readonly Addressed[]): Addressed[] {
    return addressed.filter((judged) => {
      judged.records = judged.records.filter(({ depth }) => depth < this.#init.mailboxMax);
      for (const record of judged.records) record.depth += 1;
      if (judged.records.length > 0) return true;
      const text = "the receiver's mailbox is full";
      this.#settle(judged.post, { outcome: "overloaded", text, retryAfterMs: RETRY_MS });
      return false;
    });
  }

  #apply(judged: readonly Addressed[], results: readonly InsertResult[]): void {
    const nowMs = this.#init.clock.nowMs();
    const readers = new Set<Session>();
    let stored = 0;
    for (const [index, { post, records }] of judged.entries()) {
      const result = results[index] as InsertResult;
      if (result.kind !== "stored") {
        for (const record of records) record.depth -= 1;
        this.#settleUnstored(post, records, result.kind);
        continue;
      }
      stored += records.length;
      for (const [place, record] of records.entries()) {
        const row = toRow(post, record, result.seqs[place] as bigint, nowMs);
        this.#init.desk.stored(record, row, post.stream);
        if (record.reader !== undefined) readers.add(record.reader.session);
      }
      this.#settle(post, queued(post, records));
    }
    if (stored > 0) this.#init.events.mailStored(stored);
    for (const session of readers) this.#init.desk.pump(session);
  }

  #settleUnstored(
    post: Post,
    records: readonly MailboxRecord[],
    kind: Exclude<InsertResult["kind"], "stored">,
  ): void {
    if (kind === "duplicate") {
      this.#init.events.mailDuplicate();
      // It may be a commit of ours whose answer was lost: memory does not have it then.
      for (const record of records) this.#init.desk.refresh(record);
      this.#settle(post, { outcome: "queued", text: "", duplicate: true });
    } else if (kind === "conflict") {
      const text = "its id was used for another message within 24 h";
      this.#settle(post, { outcome: "refused", reason: "MESSAGE_ID_REUSED", text });
    } else {
      const text = "the database refuses it as it is";
      this.#settle(post, { outcome: "refused", reason: "NOT_STORABLE", text });
    }
  }

  async #read(): Promise<void> {
    const { desk, journal, store } = this.#init;
    for (;;) {
      const records = desk.takeBehind(MAIL_LOAD_BOXES);
      if (records.length === 0) return;
      const inMemory = records.flatMap(({ reader }) => [...(reader?.mailbox.seqs() ?? [])]);
      const exclude = [...inMemory, ...journal.overSeqs()];
      const ids = records.map(({ mailboxId }) => mailboxId);
      let loaded: LoadedMail;
      try {
        loaded = await store.load(ids, exclude, READ_LIMITS);
      } catch (error) {
        for (const record of records) desk.refresh(record);
        throw error;
      }
      for (const record of records) {
        const { mailboxId } = record;
        const own = loaded.rows.filter((row) => row.mailboxId === mailboxId);
        desk.loaded(record, own, own.length < MAIL_LOAD_ROWS && !loaded.cut.has(mailboxId));
      }
      if (this.#posts.length > 0) return;
    }
  }

  #settle(post: Post, verdict: Verdict): void {
    if (post.over) return;
    post.over = true;
    this.#deadlines.delete(post);
    post.sender.unsettled.delete(post.messageId);
    this.#answer(post.sender, post, verdict);
  }

  #answer(sender: Sender, { messageId }: { readonly messageId: string }, verdict: Verdict): void {
    this.#init.events.messageSettled(verdict.outcome);
    sender.takeResult({ messageId, ...verdict });
  }
}

const NONE: ReadonlySet<bigint> = new Set();

function take<T>(items: Set<T>, max: number): T[] {
  const taken: T[] = [];
  for (const item of items) {
    if (taken.length === max) break;
    items.delete(item);
    taken.push(item);
  }
  return taken;
}
