/** Hands mail to the agents whose sessions are here, within their credit, and hears what they say of it. */
import { backoffDelayMs, type Clock } from "@nexus/shared";
import {
  MAIL_BYTES_MAX,
  MAIL_WINDOW,
  MAIL_WINDOW_BYTES,
  MAIL_WINDOW_POOR,
  REDELIVERY_MAX_MS,
} from "../limits.ts";
import { DeadlineWheel, Expiring } from "../message/deadline-wheel.ts";
import { canTake } from "../message/message-rules.ts";
import type { Session } from "../session/session.ts";
import type { Acknowledgement, DeathReason, Mail, MailDelivery, StoredMail } from "./mail.ts";
import type { MailBook, MailboxRecord } from "./mail-book.ts";
import type { MailJournal } from "./mail-journal.ts";
import type { MailEvents } from "./mail-ports.ts";
import { type Lane, Mailbox } from "./mailbox.ts";

/** How a session ended, in the eyes of its mail: on purpose; by being lost; or because the agent has another one, or has this one elsewhere. */
export type SessionEnd = "goodbye" | "lost" | "replaced";

/** What the desk is made from. */
export interface MailDeskInit {
  readonly book: MailBook;
  readonly journal: MailJournal;
  readonly events: MailEvents;
  /** Unique per start of the replica: begins every delivery id. */
  readonly idPrefix: string;
  readonly clock: Clock;
  readonly attemptsMax: number;
  /** Delay after the first failure; it doubles with each. */
  readonly redeliveryInitialMs: number;
  /** Something is to be read or written. `soon`: with the next commit, or after a moment. */
  readonly onWork: (when: "now" | "soon") => void;
}

class LaneTimer extends Expiring {
  readonly mailbox: Mailbox;
  readonly session: Session;
  readonly lane: Lane;
  readonly expiresAtMs: number;

  constructor(mailbox: Mailbox, session: Session, lane: Lane) {
    super();
    this.mailbox = mailbox;
    this.session = session;
    this.lane = lane;
    this.expiresAtMs = lane.heldUntilMs;
  }
}

/** Owns the in-memory part of every mailbox that is read here. */
export class MailDesk {
  readonly #init: MailDeskInit;
  readonly #acks: DeadlineWheel<MailDelivery>;
  readonly #lanes: DeadlineWheel<LaneTimer>;
  readonly #records = new Map<Session, MailboxRecord>();
  /** Mailboxes to be read. */
  readonly #behind = new Set<MailboxRecord>();
  #nextId = 0;
  #bytes = 0;

  constructor(init: MailDeskInit) {
    this.#init = init;
    this.#acks = new DeadlineWheel(init.clock.nowMs());
    this.#lanes = new DeadlineWheel(init.clock.nowMs());
  }

  /** Deliveries without a word from their receivers. */
  get unacknowledged(): number {
    return this.#acks.size;
  }

  /** Messages of a session in memory. */
  mailOf(session: Session): number {
    return this.#records.get(session)?.reader?.mailbox.size ?? 0;
  }

  /** Bytes of mail in memory. */
  get bytes(): number {
    return this.#bytes;
  }

  /** A session begins to read a mailbox; whatever an older session of the agent had in hand is over with it. */
  open(record: MailboxRecord, session: Session): void {
    if (session.over || record.reader?.session === session) return;
    if (record.reader !== undefined) this.#forget(record.reader.session, record);
    const mailbox: Mailbox = new Mailbox(record.mailboxId, (lane) => {
      this.#lanes.add(new LaneTimer(mailbox, session, lane));
    });
    record.reader = { session, mailbox };
    session.mailbox = mailbox;
    this.#records.set(session, record);
    this.refresh(record);
  }

  /** Has the mailbox read: the table may hold what memory does not. */
  refresh(record: MailboxRecord, when: "now" | "soon" = "now"): void {
    if (record.reader === undefined) return;
    record.reader.mailbox.behind = true;
    this.#behind.add(record);
    this.#init.onWork(when);
  }

  /** A mailbox is not what memory takes it for: another replica wrote to it, or this one could not. */
  refreshById(mailboxId: bigint, when: "now" | "soon" = "now"): void {
    const record = this.#init.book.findById(mailboxId);
    if (record !== undefined) this.refresh(record, when);
  }

  /** Takes mailboxes that are to be read and have room. */
  takeBehind(max: number): MailboxRecord[] {
    const taken: MailboxRecord[] = [];
    for (const record of this.#behind) {
      if (taken.length === max) break;
      this.#behind.delete(record);
      if (record.reader !== undefined && this.#hasRoom(record.reader.mailbox)) taken.push(record);
    }
    return taken;
  }

  /** Takes in what was read of a mailbox: `complete` when there is no more. */
  loaded(record: MailboxRecord, rows: readonly StoredMail[], complete: boolean): void {
    if (record.reader === undefined) return;
    const { session, mailbox } = record.reader;
    for (const row of rows) this.#add(mailbox, row);
    if (complete && !this.#behind.has(record)) mailbox.behind = false;
    this.pump(session);
    this.#readOn(record, mailbox);
  }

  /** Takes in what was just committed, if nothing of its lane can lie between. Else it is read. */
  stored(record: MailboxRecord, row: StoredMail, stream: object | undefined): void {
    if (record.reader === undefined) return;
    const { mailbox } = record.reader;
    const lane = mailbox.lane(row.sender);
    const follows = lane.stream === stream && stream !== undefined && !mailbox.behind;
    lane.stream = stream;
    if (follows && this.#hasRoom(mailbox)) this.#add(mailbox, row);
    else if (!mailbox.behind || follows) this.refresh(record);
  }

  /** Sends what credit allows. */
  pump(session: Session): void {
    const record = this.#records.get(session);
    if (record?.reader?.session !== session) return;
    const { mailbox } = record.reader;
    const { attemptsMax, clock } = this.#init;
    const nowMs = clock.nowMs();
    for (let mail = mailbox.peek(); mail !== undefined; mail = mailbox.peek()) {
      if (mail.expiresAtMs <= nowMs) this.#die(record, mail, "EXPIRED", "nobody took it in time");
      // Its last attempt was with a session that is over.
      else if (mail.failures >= attemptsMax) this.#die(record, mail, "ATTEMPTS", USED_UP);
      else if (canTake(session)) this.#deliver(session, mailbox, mail, nowMs);
      else return;
    }
    this.#readOn(record, mailbox);
  }

  /** The receiver says a word. True when it was about mail. */
  acknowledge(session: Session, ack: Acknowledgement, nowMs: number): boolean {
    const record = this.#records.get(session);
    const delivery = record?.reader?.mailbox.find(ack.deliveryId);
    if (record === undefined || delivery === undefined) return false;
    this.#acks.delete(delivery);
    if (ack.kind === "extend") {
      delivery.expiresAtMs = nowMs + delivery.mail.ackWaitMs;
      this.#acks.add(delivery);
    } else if (ack.kind === "retry") this.#fail(record, delivery.mail, ack.text, nowMs);
    else if (ack.kind === "reject") this.#die(record, delivery.mail, "REJECTED", ack.text);
    else this.#done(record, delivery.mail);
    return true;
  }

  /** A new stream: what was sent on the old one goes again. */
  restarted(session: Session): void {
    const mailbox = this.#records.get(session)?.reader?.mailbox;
    if (mailbox === undefined) return;
    for (const delivery of mailbox.restart()) this.#acks.delete(delivery);
  }

  /** Without a stream nobody can say a word, so nobody's silence counts. */
  sessionChanged(session: Session): void {
    if (session.attached) return;
    const mailbox = this.#records.get(session)?.reader?.mailbox;
    if (mailbox === undefined) return;
    for (const delivery of mailbox.deliveries()) this.#acks.delete(delivery);
  }

  /** The session is over here. What it was at work on has failed, unless it ended on purpose. */
  ended(session: Session, how: SessionEnd, nowMs: number): void {
    const record = this.#records.get(session);
    if (record?.reader?.session !== session) return;
    // Until now its mail was stored without a word to anybody; the agent may have gone elsewhere before.
    this.#init.journal.left(record.mailboxId);
    this.#init.onWork("now");
    const text = "the receiver's session was lost";
    if (how !== "goodbye") {
      for (const mail of record.reader.mailbox.oldestSent()) {
        if (how === "lost") this.#fail(record, mail, text, nowMs);
        else this.#noteFailure(mail, session.epoch);
      }
    }
    this.#forget(session, record);
  }

  /** Whoever reads the mailbox now counts on from there, and gives up what is used up. */
  #noteFailure({ mailboxId, seq, failures }: Mail, epoch: bigint): void {
    const further = failures + 1;
    const delayMs = this.#delayMs(further);
    this.#init.journal.failed({ mailboxId, seq, epoch, failures: further, delayMs });
    this.#init.onWork("now");
  }

  /** Does what is due by time. */
  expire(nowMs: number): void {
    for (const delivery of this.#acks.expire(nowMs)) {
      const record = this.#init.book.findById(delivery.mail.mailboxId);
      if (record?.reader === undefined || !delivery.isDue) continue;
      this.#fail(record, delivery.mail, "the receiver was silent for too long", nowMs);
    }
    for (const { mailbox, session, lane, expiresAtMs } of this.#lanes.expire(nowMs)) {
      if (lane.heldUntilMs !== expiresAtMs) continue;
      mailbox.release(lane);
      this.pump(session);
    }
  }

  /** Gives up what nobody granted credit for in time. */
  giveUpExpired(): void {
    for (const session of this.#records.keys()) this.pump(session);
  }

  #hasRoom(mailbox: Mailbox): boolean {
    if (this.#bytes >= MAIL_BYTES_MAX) return mailbox.size < MAIL_WINDOW_POOR;
    return mailbox.size < MAIL_WINDOW && mailbox.bytes < MAIL_WINDOW_BYTES;
  }

  #add(mailbox: Mailbox, row: StoredMail): void {
    const mail = mailbox.add(row);
    if (mail !== undefined) this.#bytes += mail.sizeBytes;
  }

  /** Reads on once half of the window is free. */
  #readOn(record: MailboxRecord, mailbox: Mailbox): void {
    const half = mailbox.size * 2 < MAIL_WINDOW && mailbox.bytes * 2 < MAIL_WINDOW_BYTES;
    if (!mailbox.behind || !half || this.#behind.has(record) || !this.#hasRoom(mailbox)) return;
    this.#behind.add(record);
    this.#init.onWork("now");
  }

  #deliver(session: Session, mailbox: Mailbox, mail: Mail, nowMs: number): void {
    const deliveryId = `${this.#init.idPrefix}m${(this.#nextId++).toString(36)}`;
    const delivery = mailbox.send(mail, deliveryId, nowMs + mail.ackWaitMs);
    this.#acks.add(delivery);
    session.credit -= 1;
    session.pushDelivery(delivery);
    this.#init.events.mailDelivered(mail.failures > 0);
  }

  #done(record: MailboxRecord, mail: Mail): void {
    this.#remove(record, mail);
    this.#init.journal.done({ mailboxId: mail.mailboxId, seq: mail.seq });
    this.#init.events.mailAcknowledged();
    this.#init.onWork("soon");
    if (record.reader !== undefined) this.#readOn(record, record.reader.mailbox);
  }

  #die(record: MailboxRecord, mail: Mail, reason: DeathReason, text: string): void {
    const epoch = epochOf(record);
    this.#remove(record, mail);
    const { mailboxId, seq, failures } = mail;
    this.#init.journal.died({ mailboxId, seq, epoch, failures, reason, text });
    this.#init.events.mailDied(reason);
    this.#init.onWork("now");
  }

  #remove(record: MailboxRecord, mail: Mail): void {
    if (mail.delivery !== undefined) this.#acks.delete(mail.delivery);
    record.reader?.mailbox.remove(mail);
    record.depth = Math.max(0, record.depth - 1);
    this.#bytes -= mail.sizeBytes;
  }

  /** The lane goes back to the message that failed, and waits, or goes on behind it when its attempts are used up. */
  #fail(record: MailboxRecord, mail: Mail, text: string, nowMs: number): void {
    const { attemptsMax, journal, events } = this.#init;
    const mailbox = record.reader?.mailbox;
    if (mailbox === undefined) return;
    mail.failures += 1;
    events.mailFailed();
    const delayMs = this.#delayMs(mail.failures);
    const isLast = mail.failures >= attemptsMax;
    const undone = mailbox.goBack(mail, isLast ? 0 : nowMs + delayMs);
    for (const delivery of undone) this.#acks.delete(delivery);
    const { mailboxId, seq, failures } = mail;
    if (isLast) {
      this.#die(record, mail, "ATTEMPTS", text);
      const lane = mailbox.lane(mail.sender);
      if (lane.heldUntilMs === 0) mailbox.release(lane);
      if (record.reader !== undefined) this.pump(record.reader.session);
    } else {
      journal.failed({ mailboxId, seq, epoch: epochOf(record), failures, delayMs });
      this.#init.onWork("now");
    }
  }

  #delayMs(failures: number): number {
    const initialMs = this.#init.redeliveryInitialMs;
    return backoffDelayMs(failures, {
      ...{ initialMs, multiplier: 2, maxMs: REDELIVERY_MAX_MS, jitter: 0 },
    });
  }

  #forget(session: Session, record: MailboxRecord): void {
    const mailbox = record.reader?.mailbox;
    if (mailbox === undefined) return;
    for (const delivery of mailbox.deliveries()) this.#acks.delete(delivery);
    this.#bytes -= mailbox.bytes;
    record.reader = undefined;
    session.mailbox = undefined;
    this.#records.delete(session);
    this.#behind.delete(record);
  }
}

const USED_UP = "its attempts are used up";

/** Of the session that reads a mailbox. */
function epochOf({ reader }: MailboxRecord): bigint {
  return reader?.session.epoch ?? 0n;
}
