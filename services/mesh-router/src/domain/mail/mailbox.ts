/** The part of a mailbox that memory holds while its agent has a session: lanes in order, one for each sender. */
import { PassingMap } from "@nexus/shared";
import { Fifo } from "../fifo.ts";
import { LANES_IDLE_MAX } from "../limits.ts";
import { Mail, MailDelivery, type StoredMail } from "./mail.ts";

/** The messages of one sender to one receiver, in the order of their commits. */
export class Lane {
  readonly sender: string;
  /** Everything that is not over, in order. */
  readonly mail = new PassingMap<bigint, Mail>();
  /** Nothing is sent before; 0 when nothing holds the lane. */
  heldUntilMs = 0;
  /** What its deliveries carry: the mailbox's generation when it last failed. */
  generation: number;
  /** Which stream of the sender wrote the last message that came from memory. */
  stream: object | undefined;

  constructor(sender: string, generation: number) {
    this.sender = sender;
    this.generation = generation;
  }
}

interface Queued {
  readonly mail: Mail;
  readonly ticket: number;
}

/** Holds what may be sent, what was sent and what waits behind a failure.
 *
 * Knows neither credit nor deadlines: those are mail-office's. */
export class Mailbox {
  readonly mailboxId: bigint;
  readonly lanes = new Map<string, Lane>();
  readonly #onHold: (lane: Lane) => void;
  readonly #bySeq = new PassingMap<bigint, Mail>();
  readonly #sent = new PassingMap<string, MailDelivery>();
  readonly #ready = new Fifo<Queued>();
  #bytes = 0;
  /** Grows with each failure; begins anew with each stream. One for all lanes, so that a lane can be forgotten and made again. */
  #generation = 0;
  /** True when the table may hold mail of this mailbox that memory does not. */
  behind = true;

  /** `onHold` hears of each lane that has to wait, and until when. */
  constructor(mailboxId: bigint, onHold: (lane: Lane) => void) {
    this.mailboxId = mailboxId;
    this.#onHold = onHold;
  }

  /** Messages in memory, and their bytes. */
  get size(): number {
    return this.#bySeq.size;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Deliveries without a word from the receiver. */
  get unacknowledged(): number {
    return this.#sent.size;
  }

  /** Sequence numbers in memory. */
  seqs(): Iterable<bigint> {
    return this.#bySeq.keys();
  }

  /** Finds or makes a sender's lane. */
  lane(sender: string): Lane {
    let lane = this.lanes.get(sender);
    if (lane === undefined) {
      if (this.lanes.size >= LANES_IDLE_MAX) this.#forgetIdle();
      lane = new Lane(sender, this.#generation);
      this.lanes.set(sender, lane);
    }
    return lane;
  }

  /** Adds a row behind the others of its lane; undefined when it is here already. */
  add(row: StoredMail): Mail | undefined {
    if (this.#bySeq.has(row.seq)) return undefined;
    const mail = new Mail(row);
    const lane = this.lane(row.sender);
    this.#bySeq.set(mail.seq, mail);
    this.#bytes += mail.sizeBytes;
    lane.mail.set(mail.seq, mail);
    if (row.dueAtMs > lane.heldUntilMs) this.#hold(lane, row.dueAtMs);
    if (lane.heldUntilMs === 0) this.#makeReady(mail);
    return mail;
  }

  /** The next message that may be sent; it stays where it is until sent() or remove(). */
  peek(): Mail | undefined {
    for (let next = this.#ready.peek(); next !== undefined; next = this.#ready.peek()) {
      if (next.mail.phase === "ready" && next.mail.ticket === next.ticket) return next.mail;
      this.#ready.shift();
    }
    return undefined;
  }

  /** A message goes to the receiver's stream under this id. */
  send(mail: Mail, deliveryId: string, ackDueAtMs: number): MailDelivery {
    const { generation } = this.lane(mail.sender);
    const delivery = new MailDelivery({ mail, deliveryId, generation, ackDueAtMs });
    mail.phase = "sent";
    mail.ticket += 1;
    mail.delivery = delivery;
    this.#sent.set(deliveryId, delivery);
    return delivery;
  }

  /** A delivery under way. */
  find(deliveryId: string): MailDelivery | undefined {
    return this.#sent.get(deliveryId);
  }

  /** All deliveries under way. */
  deliveries(): Iterable<MailDelivery> {
    return this.#sent.values();
  }

  /** Takes a message out for good. */
  remove(mail: Mail): void {
    this.#unsend(mail);
    mail.phase = "over";
    mail.ticket += 1;
    if (!this.#bySeq.delete(mail.seq)) return;
    this.#bytes -= mail.sizeBytes;
    this.lanes.get(mail.sender)?.mail.delete(mail.seq);
  }

  /** A delivery failed: the lane goes back to it and waits. What followed on the wire is void. Returns what was void. */
  goBack(mail: Mail, heldUntilMs: number): MailDelivery[] {
    const lane = this.lane(mail.sender);
    const undone: MailDelivery[] = [];
    let reached = false;
    for (const one of lane.mail.values()) {
      reached ||= one === mail;
      if (reached && one.delivery !== undefined) undone.push(one.delivery);
    }
    for (const delivery of undone) this.#unsend(delivery.mail);
    this.#generation += 1;
    lane.generation = this.#generation;
    this.#hold(lane, heldUntilMs);
    return undone;
  }

  /** The lane's time to wait is over. */
  release(lane: Lane): void {
    lane.heldUntilMs = 0;
    for (const mail of lane.mail.values()) if (mail.phase === "held") this.#makeReady(mail);
  }

  /** A new stream: everything sent on the old one is sent again, in order, unless its lane waits. Returns what was sent. */
  restart(): MailDelivery[] {
    const undone = this.#sent.values();
    for (const { mail } of undone) this.#unsend(mail);
    this.#ready.remove(() => true);
    this.#generation = 0;
    for (const lane of this.lanes.values()) {
      lane.generation = 0;
      for (const mail of lane.mail.values()) {
        mail.phase = "held";
        mail.ticket += 1;
      }
      if (lane.heldUntilMs === 0) this.release(lane);
    }
    return undone;
  }

  /** The oldest delivery under way of each lane. */
  oldestSent(): Mail[] {
    const oldest: Mail[] = [];
    for (const lane of this.lanes.values()) {
      for (const mail of lane.mail.values()) {
        if (mail.phase !== "sent") continue;
        oldest.push(mail);
        break;
      }
    }
    return oldest;
  }

  #hold(lane: Lane, untilMs: number): void {
    if (untilMs > lane.heldUntilMs) {
      lane.heldUntilMs = untilMs;
      this.#onHold(lane);
    }
    for (const mail of lane.mail.values()) {
      if (mail.phase !== "ready") continue;
      mail.phase = "held";
      mail.ticket += 1;
    }
  }

  #makeReady(mail: Mail): void {
    mail.phase = "ready";
    mail.ticket += 1;
    this.#ready.push({ mail, ticket: mail.ticket });
  }

  #unsend(mail: Mail): void {
    if (mail.delivery === undefined) return;
    this.#sent.delete(mail.delivery.deliveryId);
    mail.delivery = undefined;
    mail.phase = "held";
  }

  /** A lane that is empty and held by nothing can be made anew. */
  #forgetIdle(): void {
    for (const lane of this.lanes.values()) {
      if (lane.mail.size === 0 && lane.heldUntilMs === 0) this.lanes.delete(lane.sender);
    }
  }
}
