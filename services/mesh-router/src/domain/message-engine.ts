/** Ephemeral messages: in memory, at most once, in order per pair, with exactly one outcome each. Durable ones go to the mail. */
import { Caller } from "./caller.ts";
import { detachFromFrame } from "./carried.ts";
import { DeadlineWheel } from "./deadline-wheel.ts";
import {
  MESSAGE_CREDIT_MAX,
  MESSAGE_QUEUE_MAX,
  OVERLOADED_RETRY_MS,
  PENDING_BYTES_MAX,
  PENDING_MESSAGES_MAX,
  PENDING_PER_SENDER_MAX,
} from "./limits.ts";
import type { Acknowledgement } from "./mail.ts";
import type { MailDesk } from "./mail-desk.ts";
import type { MailOffice } from "./mail-office.ts";
import {
  type Deliverable,
  type Letter,
  Message,
  type Outcome,
  type Sender,
  type Verdict,
} from "./message.ts";
import { canTake, expiryText, refused, whyRefused } from "./message-rules.ts";
import type { MessageEvents } from "./ports.ts";
import { Session } from "./session.ts";
import type { SessionDirectory } from "./session-directory.ts";

/** What the engine is made from. */
export interface MessageEngineInit {
  readonly directory: SessionDirectory;
  readonly events: MessageEvents;
  /** Where durable messages are stored, and from where they are delivered. */
  readonly office: Pick<MailOffice, "post" | "arrived">;
  readonly desk: Pick<MailDesk, "acknowledge" | "pump" | "restarted" | "ended">;
  /** Unique per start of the replica: begins every delivery id. */
  readonly idPrefix: string;
  readonly nowMs: number;
}

/** Takes messages in, hands them over within the receiver's credit and tells every sender what became of them. */
export class MessageEngine {
  readonly #directory: SessionDirectory;
  readonly #events: MessageEvents;
  readonly #office: MessageEngineInit["office"];
  readonly #desk: MessageEngineInit["desk"];
  readonly #idPrefix: string;
  readonly #deadlines: DeadlineWheel<Message>;
  #nextId = 0;
  #bytes = 0;

  constructor(init: MessageEngineInit) {
    this.#directory = init.directory;
    this.#events = init.events;
    this.#office = init.office;
    this.#desk = init.desk;
    this.#idPrefix = init.idPrefix;
    this.#deadlines = new DeadlineWheel(init.nowMs);
  }

  /** Messages without an outcome. */
  get pending(): number {
    return this.#deadlines.size;
  }

  /** Takes a message in. Its outcome goes to the sender, at once or later. */
  send(sender: Sender, letter: Letter, nowMs: number): void {
    const refusal = whyRefused(sender, letter);
    if (refusal !== undefined) this.#answer(sender, letter, refusal);
    else if (this.#isFull(sender, letter)) this.#overload(sender, letter, "the router is full");
    else if (letter.mail !== undefined) this.#office.post(sender, letter, letter.mail);
    else if (letter.inReplyTo !== "") this.#sendReply(sender, letter, nowMs);
    else this.#sendLetter(sender, letter, nowMs);
  }

  /** The receiver took a delivery in. Acks of deliveries that are settled are late and mean nothing. */
  acknowledge(session: Session, ack: Acknowledgement, nowMs: number): void {
    const message = session.delivered.get(ack.deliveryId);
    if (message === undefined) this.#desk.acknowledge(session, ack, nowMs);
    if (message?.phase !== "sent" || ack.kind !== "done") return;
    if (message.expectsReply) message.phase = "taken";
    else this.#deliveredAt(message, nowMs);
  }

  /** The receiver grants further deliveries. */
  grant(session: Session, credit: number): void {
    session.credit = Math.min(MESSAGE_CREDIT_MAX, session.credit + credit);
    this.#pump(session);
    this.#desk.pump(session);
  }

  /** A new stream begins with its own credit: what was queued under the old one's, but not written, waits again. */
  restart(session: Session, credit: number): void {
    const waiting = [...session.inbox];
    session.inbox.clear();
    for (const message of session.outbox.takeBackDeliveries()) {
      if (message.kind === "mail") continue;
      session.delivered.delete(message.deliveryId);
      if (message.phase !== "sent") continue;
      message.phase = "queued";
      session.inbox.add(message);
    }
    for (const message of waiting) session.inbox.add(message);
    session.credit = 0;
    this.#desk.restarted(session);
    this.#office.arrived(session);
    this.grant(session, credit);
  }

  /** Deliveries were written to the stream: their bodies are let go and the next may follow. What was left out used no credit. */
  written(session: Session, deliveries: readonly Deliverable[], leftOut: number): void {
    for (const delivery of deliveries) if (delivery.kind === "message") this.#release(delivery);
    session.credit = Math.min(MESSAGE_CREDIT_MAX, session.credit + leftOut);
    if (session.inbox.size > 0) this.#pump(session);
    this.#desk.pump(session);
  }

  /** Gives up what was never written to an agent that does not read. */
  unread(session: Session): void {
    for (const message of session.outbox.takeBackDeliveries()) {
      if (message.kind === "mail") continue;
      this.#settle(message, "overloaded", "the receiver does not read");
    }
  }

  /** Settles everything that was meant for a session that is over. */
  ended(session: Session, onPurpose: boolean, nowMs: number): void {
    this.#desk.ended(session, onPurpose, nowMs);
    const unwritten = session.outbox.takeBackDeliveries().filter(isMessage);
    for (const message of [...unwritten, ...session.inbox]) {
      this.#settle(message, "no_such_agent", "the receiver's session ended");
    }
    for (const message of [...session.delivered.values()]) {
      this.#settle(message, "expired", "the receiver's session ended before it answered");
    }
  }

  /** Settles everything whose time has come. Returns how many. */
  expire(nowMs: number): number {
    const due = this.#deadlines.expire(nowMs);
    for (const message of due) this.#settle(message, "expired", expiryText(message));
    return due.length;
  }

  /** The sender no longer waits: what was not delivered yet is withdrawn. */
  abandon(sender: Sender): void {
    for (const message of [...sender.unsettled.values()]) {
      if (message.kind !== "message" || message.phase !== "queued") continue;
      this.#settle(message, "expired", "the sender left");
    }
  }

  #isFull(sender: Sender, { payload }: Letter): boolean {
    return (
      this.#deadlines.size >= PENDING_MESSAGES_MAX ||
      this.#bytes + payload.byteLength > PENDING_BYTES_MAX ||
      sender.unsettled.size >= PENDING_PER_SENDER_MAX
    );
  }

  #sendLetter(sender: Sender, letter: Letter, nowMs: number): void {
    const receiver = this.#directory.find(sender.namespace, letter.toAgentId);
    if (receiver === undefined || receiver.over) {
      this.#answer(sender, letter, { outcome: "no_such_agent", text: "the agent has no session" });
    } else if (receiver.inbox.size >= MESSAGE_QUEUE_MAX) {
      this.#overload(sender, letter, "the receiver's queue is full");
    } else {
      const expiresAtMs = nowMs + letter.timeoutMs;
      this.#enqueue(receiver, this.#accept({ sender, letter, receiver, nowMs, expiresAtMs }));
    }
  }

  /** A reply goes back the way its request came, within the request's time. */
  #sendReply(sender: Sender, letter: Letter, nowMs: number): void {
    const request = sender instanceof Session ? sender.delivered.get(letter.inReplyTo) : undefined;
    if (request === undefined || !request.expectsReply || request.phase === "answered") {
      const text = "it answers no delivery that waits for a reply";
      this.#answer(sender, letter, refused("NOT_AWAITED", text));
      return;
    }
    const asker = request.sender;
    if (asker instanceof Session) this.#replyToSession(asker, { sender, letter, request }, nowMs);
    else this.#replyToCaller(asker, { sender, letter, request });
  }

  #replyToCaller(asker: Sender, { sender, letter, request }: ReplyParts): void {
    if (asker instanceof Caller) asker.takeReply(letter.payload);
    this.#settle(request, "delivered", "");
    this.#answer(sender, letter, { outcome: "delivered", text: "" });
  }

  #replyToSession(asker: Session, { sender, letter, request }: ReplyParts, nowMs: number): void {
    if (asker.over) {
      const text = "the asker's session ended";
      this.#answer(sender, letter, { outcome: "no_such_agent", text });
    } else if (asker.inbox.size >= MESSAGE_QUEUE_MAX) {
      this.#overload(sender, letter, "the asker's queue is full");
    } else {
      const expiresAtMs = Math.min(nowMs + letter.timeoutMs, request.expiresAtMs);
      request.phase = "answered";
      const parts = { sender, letter, receiver: asker, nowMs, expiresAtMs, request };
      this.#enqueue(asker, this.#accept(parts));
    }
  }

  #accept(parts: {
    sender: Sender;
    letter: Letter;
    receiver: Session;
    nowMs: number;
    expiresAtMs: number;
    request?: Message;
  }): Message {
    const deliveryId = `${this.#idPrefix}${(this.#nextId++).toString(36)}`;
    const inReplyTo = parts.request?.messageId ?? "";
    const message = new Message({ ...parts, deliveryId, inReplyTo });
    parts.sender.unsettled.set(message.messageId, message);
    this.#deadlines.add(message);
    this.#bytes += message.sizeBytes;
    return message;
  }

  #enqueue(receiver: Session, message: Message): void {
    if (receiver.inbox.size === 0 && canTake(receiver)) {
      this.#deliver(receiver, message);
      return;
    }
    if (message.payload !== undefined) message.payload = detachFromFrame(message.payload);
    receiver.inbox.add(message);
  }

  #pump(receiver: Session): void {
    for (const message of receiver.inbox) {
      if (!canTake(receiver)) return;
      receiver.inbox.delete(message);
      this.#deliver(receiver, message);
    }
  }

  /** A request has its outcome once its reply is on the asker's stream. */
  #deliver(receiver: Session, message: Message): void {
    receiver.credit -= 1;
    message.phase = "sent";
    receiver.delivered.set(message.deliveryId, message);
    receiver.pushDelivery(message);
    if (message.request !== undefined) this.#settle(message.request, "delivered", "");
  }

  #deliveredAt(message: Message, nowMs: number): void {
    this.#events.messageDelivered(nowMs - message.acceptedAtMs);
    this.#settle(message, "delivered", "");
  }

  #settle(message: Message, outcome: Outcome, text: string): void {
    if (message.phase === "over") return;
    message.phase = "over";
    this.#deadlines.delete(message);
    this.#release(message);
    message.receiver.inbox.delete(message);
    message.receiver.delivered.delete(message.deliveryId);
    message.sender.unsettled.delete(message.messageId);
    this.#answer(message.sender, message, { outcome, text });
  }

  #release(message: Message): void {
    if (message.payload === undefined) return;
    message.payload = undefined;
    this.#bytes -= message.sizeBytes;
  }

  #overload(sender: Sender, letter: Letter, text: string): void {
    const retryAfterMs = OVERLOADED_RETRY_MS;
    this.#answer(sender, letter, { outcome: "overloaded", text, retryAfterMs });
  }

  #answer(sender: Sender, { messageId }: { readonly messageId: string }, verdict: Verdict): void {
    this.#events.messageSettled(verdict.outcome);
    sender.takeResult({ messageId, ...verdict });
  }
}

interface ReplyParts {
  readonly sender: Sender;
  readonly letter: Letter;
  readonly request: Message;
}

function isMessage(delivery: Deliverable): delivery is Message {
  return delivery.kind === "message";
}
