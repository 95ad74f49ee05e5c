/** Ephemeral messages: in memory, at most once, in order per pair, with exactly one outcome each. Durable ones go to the mail. */

import { MESSAGE_CREDIT_MAX } from "../limits.ts";
import type { Acknowledgement } from "../mail/mail.ts";
import type { MailDesk, SessionEnd } from "../mail/mail-desk.ts";
import type { MailOffice } from "../mail/mail-office.ts";
import type { MessageEvents } from "../ports.ts";
import type { Outward } from "../remote/outward.ts";
import { Session } from "../session/session.ts";
import type { Gathering } from "./gathering.ts";
import type { Letter, Outcome, Verdict } from "./letter.ts";
import { type Deliverable, Message, type Receiver, type Sender } from "./message.ts";
import {
  canTake,
  expiryText,
  hasTooMany,
  isMessage,
  isSilence,
  NO_SESSION,
  RECEIVER_GONE,
  ROUTER_FULL,
  requestOf,
  TOO_MANY_PENDING,
  whyNotTaken,
} from "./message-rules.ts";
import { PendingMessages } from "./pending-messages.ts";
import { ReplyDesk } from "./reply-desk.ts";
import type { SenderTally } from "./sender-tally.ts";

/** What the engine is made from. */
export interface MessageEngineInit {
  /** Where agents are, and the way to other replicas. */
  readonly outward: Outward;
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
  readonly #outward: Outward;
  readonly #events: MessageEvents;
  readonly #office: MessageEngineInit["office"];
  readonly #desk: MessageEngineInit["desk"];
  readonly #idPrefix: string;
  readonly #pending: PendingMessages;
  readonly #replies: ReplyDesk;
  #nextId = 0;

  constructor(init: MessageEngineInit) {
    this.#outward = init.outward;
    this.#events = init.events;
    this.#office = init.office;
    this.#desk = init.desk;
    this.#idPrefix = init.idPrefix;
    this.#pending = new PendingMessages(init.nowMs);
    this.#replies = new ReplyDesk(this, init.outward);
  }

  /** Messages without an outcome, and the bytes of those that were not written. */
  get pending(): number {
    return this.#pending.size;
  }

  get pendingBytes(): number {
    return this.#pending.bytes;
  }

  /** A frame was read whose messages come next. */
  frameRead(frame: Uint8Array): void {
    this.#pending.frameRead(frame);
  }

  /** Takes a message to one agent in, or a reply, which whyRefused() has nothing against. Its outcome goes to the sender, at
   * once or later. */
  send(sender: Sender, letter: Letter, nowMs: number): void {
    if (hasTooMany(sender)) this.refuse(sender, letter, TOO_MANY_PENDING);
    else if (letter.mail !== undefined) this.#office.post(sender, letter, [letter.toAgentId]);
    else if (letter.inReplyTo !== "") this.reply(sender, letter, requestOf(sender, letter), nowMs);
    else this.#sendLetter(sender, letter, nowMs);
  }

  /** Answers a message, or a reply, that is not taken in. */
  refuse(sender: Sender, letter: Letter, verdict: Verdict): void {
    if (letter.inReplyTo === "") this.answer(sender, letter, verdict);
    else this.#replies.refuse(sender, letter, requestOf(sender, letter), verdict);
  }

  /** Takes a message in for a receiver that is known; undefined: it is not, and there is none. */
  sendTo(sender: Sender, letter: Letter, receiver: Receiver | undefined, nowMs: number): void {
    const verdict = whyNotTaken(receiver, letter.payload.byteLength, nowMs);
    if (receiver === undefined || verdict !== undefined) {
      this.answer(sender, letter, verdict ?? NO_SESSION);
    } else if (!this.#pending.hasRoom(sender, letter, receiver)) {
      this.answer(sender, letter, ROUTER_FULL);
    } else this.#take(sender, letter, receiver, nowMs);
  }

  /** Takes one copy of a message to many in; undefined when there is no room for it. */
  sendCopy(sender: Sender, letter: Letter, receiver: Receiver, nowMs: number): Message | undefined {
    if (whyNotTaken(receiver, letter.payload.byteLength, nowMs) !== undefined) return undefined;
    if (!this.#pending.hasRoom(sender, letter, receiver)) return undefined;
    return this.#take(sender, letter, receiver, nowMs);
  }

  #take(sender: Sender, letter: Letter, receiver: Receiver, nowMs: number): Message {
    const deliveryId = this.newDeliveryId();
    const expiresAtMs = nowMs + letter.timeoutMs;
    const init = { deliveryId, letter, sender, receiver, nowMs, expiresAtMs, inReplyTo: "" };
    const message = this.accept(new Message(init));
    receiver.breaker?.letThrough(message, nowMs);
    this.enqueue(receiver, message);
    return message;
  }

  /** Takes a durable message to many in. */
  postToMany(sender: Sender, letter: Letter, toAgentIds: readonly string[]): void {
    if (hasTooMany(sender)) this.answer(sender, letter, TOO_MANY_PENDING);
    else this.#office.post(sender, letter, toAgentIds);
  }

  /** The sender takes a message back. One that is being stored has its outcome soon, so it is left alone. */
  cancel(sender: Sender, messageId: string): void {
    const unsettled = sender.unsettled.get(messageId);
    if (unsettled?.kind === "message") this.#withdraw(unsettled);
    else if (unsettled !== undefined && unsettled.kind !== "post") unsettled.cancel();
  }

  /** Takes back what a gathering still asks. */
  withdraw({ unsettled }: Gathering): void {
    for (const message of unsettled.values()) {
      if (message.kind === "message") this.#withdraw(message);
    }
  }

  #withdraw(message: Message): void {
    const isThere = message.phase === "sent" || message.phase === "taken";
    const { receiver, deliveryId, expectsReply } = message;
    if (isThere && (expectsReply || receiver.isRemote)) receiver.cancelDelivery(deliveryId);
    this.#settle(message, "cancelled", "its sender took it back");
  }

  /** The receiver took a delivery in, or says of a request that it does not answer. Acks of deliveries that are settled are late, and
   * say only that the receiver is well. */
  acknowledge(session: Session, ack: Acknowledgement, nowMs: number): void {
    session.breaker.reset();
    const message = session.delivered.get(ack.deliveryId);
    if (message === undefined) this.#desk.acknowledge(session, ack, nowMs);
    else if (ack.kind === "done") this.#taken(message, nowMs);
    else if (ack.kind === "reject" && message.expectsReply) {
      this.#replies.decline(message, ack);
    }
  }

  #taken(message: Message, nowMs: number): void {
    if (message.phase !== "sent") return;
    if (message.expectsReply) message.phase = "taken";
    else this.deliveredAt(message, nowMs);
  }

  /** The receiver grants further deliveries. */
  grant(session: Session, credit: number): void {
    session.credit = Math.min(MESSAGE_CREDIT_MAX, session.credit + credit);
    this.#pump(session);
    this.#desk.pump(session);
  }

  /** A new stream begins with its own credit: what was queued under the old one's, but not written, waits again, and parts
   * of replies that were not acknowledged with it. */
  restart(session: Session, credit: number): void {
    const waiting = [...session.inbox];
    session.inbox.clear();
    session.breaker.reset();
    const unwritten = new Set(session.outbox.takeBackDeliveries());
    for (const message of session.delivered.values()) {
      const isAgain = unwritten.has(message) || (message.part > 0 && message.payload !== undefined);
      if (message.phase !== "sent" || !isAgain) continue;
      session.delivered.delete(message.deliveryId);
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
    for (const delivery of deliveries) {
      // A part may have to be sent again.
      if (delivery.kind === "message" && delivery.part === 0) this.#pending.letGo(delivery);
    }
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

  /** The session is at another replica now: what it was not given goes there. */
  moved(session: Session): void {
    const unwritten = session.outbox.takeBackDeliveries().filter(isMessage);
    for (const message of [...unwritten, ...session.inbox]) {
      if (message.phase === "over") continue;
      session.inbox.delete(message);
      session.delivered.delete(message.deliveryId);
      message.phase = "queued";
      this.#outward.redirect(message);
    }
  }

  /** Settles everything that was meant for a session that is over. */
  ended(session: Session, how: SessionEnd, nowMs: number): void {
    this.#desk.ended(session, how, nowMs);
    const unwritten = session.outbox.takeBackDeliveries().filter(isMessage);
    for (const message of [...unwritten, ...session.inbox]) {
      this.#settle(message, "no_such_agent", "the receiver's session ended");
    }
    for (const message of session.delivered.values()) {
      // A reply that is on its way ends its request.
      if (message.phase !== "answered") this.conclude(message, RECEIVER_GONE);
    }
  }

  /** Settles everything whose time has come. Returns how many. */
  expire(nowMs: number): number {
    const due = this.#pending.expire(nowMs);
    for (const message of due) {
      if (isSilence(message)) message.receiver.breaker?.failed(nowMs);
      this.#settle(message, "expired", expiryText(message));
    }
    return due.length;
  }

  /** The sender no longer waits: what has no outcome is withdrawn. */
  abandon(sender: Sender): void {
    for (const messageId of sender.unsettled.keys()) this.cancel(sender, messageId);
  }

  /** Says whether there is room for a reply. */
  hasRoomForReply(sender: Sender, letter: Letter): boolean {
    return this.#pending.hasRoomForReply(sender, letter);
  }

  /** Counts for a sender what its own list does not hold. */
  tallyOf(sender: Pick<Sender, "namespace" | "principalId">): SenderTally {
    return this.#pending.tallyOf(sender);
  }

  /** Whoever is being looked for is found in a moment: what follows waits behind what came first. */
  #sendLetter(sender: Sender, letter: Letter, nowMs: number): void {
    const { namespace } = sender;
    const { toAgentId } = letter;
    const known =
      this.#outward.findSought(namespace, toAgentId) ?? this.#outward.find(namespace, toAgentId);
    this.sendTo(sender, letter, known ?? this.#outward.seek(namespace, toAgentId), nowMs);
  }

  /** A reply goes back the way its request came, within the request's time. */
  reply(sender: Sender, letter: Letter, request: Message | undefined, nowMs: number): void {
    if (sender instanceof Session) sender.breaker.reset();
    this.#replies.take(sender, letter, request, nowMs);
  }

  /** Makes a name for a delivery. */
  newDeliveryId(): string {
    return `${this.#idPrefix}${(this.#nextId++).toString(36)}`;
  }

  /** Counts a message among those without an outcome. */
  accept(message: Message): Message {
    this.#pending.add(message);
    return message;
  }

  /** A message that was not given to its receiver goes to another one, in what is left of its time. */
  move(message: Message, receiver: Receiver, nowMs: number): void {
    leave(message);
    message.phase = "queued";
    message.isAstray = false;
    message.receiver = receiver;
    receiver.breaker?.letThrough(message, nowMs);
    this.enqueue(receiver, message);
  }

  /** Hands a message to its receiver's queue, here or elsewhere. */
  enqueue(receiver: Receiver, message: Message): void {
    if (!(receiver instanceof Session)) this.#outward.enqueue(receiver, message);
    else if (receiver.inbox.size === 0 && canTake(receiver)) {
      this.#deliver(receiver, message);
    } else {
      message.detach();
      receiver.inbox.add(message);
    }
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
    if (message.watch !== undefined) pass(message);
    if (message.request !== undefined && !message.more) {
      this.#settle(message.request, "delivered", "");
    }
  }

  /** The receiver acknowledged a message, here or at another replica. */
  deliveredAt(message: Message, nowMs: number): void {
    this.#events.messageDelivered(nowMs - message.acceptedAtMs);
    this.#settle(message, "delivered", "");
  }

  #settle(message: Message, outcome: Outcome, text: string): void {
    this.conclude(message, { outcome, text });
  }

  /** A message has its outcome, unless it had one, or goes on to another receiver. */
  conclude(message: Message, verdict: Verdict): void {
    if (message.phase === "over" || message.onwards?.take(message, verdict) === true) return;
    message.phase = "over";
    this.#pending.delete(message);
    leave(message);
    if (message.watch !== undefined) pass(message);
    this.answer(message.sender, message, verdict);
    const { request } = message;
    if (request !== undefined) this.#replies.settled(message, request, verdict);
  }

  /** Tells a sender what became of a message, which has no outcome yet. */
  answer(sender: Sender, { messageId }: { readonly messageId: string }, verdict: Verdict): void {
    if (sender.isRemote !== true) this.#events.messageSettled(verdict.outcome);
    // Beginning with the spread: V8 then copies it as a whole.
    sender.takeResult({ ...verdict, messageId });
  }
}

/** Its receiver has a message no more. */
function leave(message: Message): void {
  const { receiver, deliveryId } = message;
  receiver.inbox.delete(message);
  receiver.delivered.delete(deliveryId);
  receiver.breaker?.release(message);
}

/** It is on its way, or will never be: who waited for that goes on. */
function pass(message: Message): void {
  const { watch } = message;
  message.watch = undefined;
  watch?.passed();
}
