/** Replies: each goes back the way its request came, within the request's time. */
import type { Acknowledgement } from "../mail/mail.ts";
import type { Outward } from "../remote/outward.ts";
import { RemoteSender } from "../remote/remote-sender.ts";
import { Session } from "../session/session.ts";
import { Caller } from "./caller.ts";
import { Gathering } from "./gathering.ts";
import type { Letter, Outcome, Verdict } from "./letter.ts";
import { Message, type Receiver, type Sender } from "./message.ts";
import {
  ASKER_FULL,
  ASKER_GONE,
  isQueueFull,
  NOT_AWAITED,
  notAnswered,
  PARTS_NOT_TAKEN,
  RECEIVER_GONE,
  REPLY_CUT,
  ROUTER_FULL,
} from "./message-rules.ts";

/** What replies need of the engine. */
interface ReplyEngine {
  newDeliveryId(): string;
  accept(message: Message): Message;
  enqueue(receiver: Receiver, message: Message): void;
  conclude(message: Message, verdict: Verdict): void;
  answer(sender: Sender, letter: Letter, verdict: Verdict): void;
  hasRoomForReply(sender: Sender, letter: Letter): boolean;
}

interface ReplyParts {
  readonly sender: Sender;
  readonly letter: Letter;
  readonly request: Message;
}

/** What a whole reply may be sent again after: its asker still waits. */
const OPEN_AFTER: ReadonlySet<Outcome> = new Set(["overloaded", "expired", "cancelled"]);

const DELIVERED: Verdict = { outcome: "delivered", text: "" };

/** Takes replies to requests that the engine knows.
 *
 * A request ends with its reply: once that is on the asker's stream here, once the other replica says so there. A reply that did not
 * get through leaves it open for another try; a part that did not ends it, since what follows would hide the gap. */
export class ReplyDesk {
  readonly #engine: ReplyEngine;
  readonly #outward: Outward;

  constructor(engine: ReplyEngine, outward: Outward) {
    this.#engine = engine;
    this.#outward = outward;
  }

  /** Takes a reply in. Its outcome goes to whoever sent it. */
  take(sender: Sender, letter: Letter, request: Message | undefined, nowMs: number): void {
    if (request === undefined || !request.expectsReply || request.phase === "answered") {
      this.#engine.answer(sender, letter, NOT_AWAITED);
      return;
    }
    const asker = request.sender;
    const parts = { sender, letter, request };
    if (asker instanceof Session) this.#toSession(asker, parts, nowMs);
    else if (asker instanceof RemoteSender) this.#toReplica(asker, parts, nowMs);
    else if (partOf(letter, request) > 0) this.#refuseParts(parts);
    else if (asker instanceof Gathering) this.#toSession(asker.asker, parts, nowMs);
    else this.#toCaller(asker, parts);
  }

  /** A reply is not taken. A whole one may be sent again; a part is missing for good. */
  refuse(sender: Sender, letter: Letter, request: Message | undefined, verdict: Verdict): void {
    this.#engine.answer(sender, letter, verdict);
    if (request !== undefined && partOf(letter, request) > 0) this.#cut(request);
  }

  /** A reply has its outcome. */
  settled({ part, more }: Message, request: Message, verdict: Verdict): void {
    if (request.phase === "over") return;
    const { outcome } = verdict;
    if (outcome === "delivered") {
      if (!more) this.#engine.conclude(request, DELIVERED);
    } else if (part > 0) this.#cut(request);
    else if (request.receiver.over) this.#engine.conclude(request, RECEIVER_GONE);
    else if (OPEN_AFTER.has(outcome)) request.phase = "taken";
    else this.#engine.conclude(request, verdict);
  }

  /** The receiver of a request says that no reply comes, or no further part. */
  decline(request: Message, word: Acknowledgement): void {
    if (request.phase !== "answered") this.#engine.conclude(request, notAnswered(word));
  }

  #cut(request: Message): void {
    if (request.phase === "over") return;
    request.receiver.cancelDelivery(request.deliveryId);
    this.#engine.conclude(request, REPLY_CUT);
  }

  /** Whoever asks for a reply in one piece gets none: one of several would pass for all. */
  #refuseParts({ sender, letter, request }: ReplyParts): void {
    request.receiver.cancelDelivery(request.deliveryId);
    this.#engine.conclude(request, PARTS_NOT_TAKEN);
    this.#engine.answer(sender, letter, PARTS_NOT_TAKEN);
  }

  #toCaller(asker: Sender, { sender, letter, request }: ReplyParts): void {
    if (asker instanceof Caller) asker.takeReply(letter.payload);
    this.#engine.conclude(request, DELIVERED);
    this.#engine.answer(sender, letter, DELIVERED);
  }

  #toSession(asker: Session, { sender, letter, request }: ReplyParts, nowMs: number): void {
    if (asker.over) {
      this.#engine.answer(sender, letter, ASKER_GONE);
      this.#engine.conclude(request, ASKER_GONE);
    } else if (hasNoRoom(asker, letter, request)) {
      this.refuse(sender, letter, request, ASKER_FULL);
    } else if (!this.#engine.hasRoomForReply(sender, letter)) {
      this.refuse(sender, letter, request, ROUTER_FULL);
    } else {
      const message = this.#accept({ sender, letter, request }, asker, nowMs);
      if (!message.more) request.phase = "answered";
      this.#engine.enqueue(asker, message);
    }
  }

  /** The request has its outcome there, with the reply; here it is over once the other replica says so. */
  #toReplica(asker: RemoteSender, parts: ReplyParts, nowMs: number): void {
    const { sender, letter, request } = parts;
    if (!this.#engine.hasRoomForReply(sender, letter)) {
      this.refuse(sender, letter, request, ROUTER_FULL);
      return;
    }
    const message = this.#accept(parts, asker.peer.askers, nowMs);
    if (!message.more) request.phase = "answered";
    this.#outward.reply(asker, message);
  }

  #accept({ sender, letter, request }: ReplyParts, receiver: Receiver, nowMs: number): Message {
    const expiresAtMs = Math.min(nowMs + letter.timeoutMs, request.expiresAtMs);
    const part = partOf(letter, request);
    request.parts = part;
    if (request.phase === "sent") request.phase = "taken";
    const ids = { deliveryId: this.#engine.newDeliveryId(), inReplyTo: request.messageId };
    const parts = { sender, letter, receiver, nowMs, expiresAtMs, request, part };
    return this.#engine.accept(new Message({ ...parts, ...ids }));
  }
}

/** Says whether an asker has as much before it as it may. What it was given of replies in parts, and has not taken, counts for those. */
function hasNoRoom(asker: Session, letter: Letter, request: Message): boolean {
  const { byteLength } = letter.payload;
  const { partBytes } = asker.delivered;
  const isPart = partBytes > 0 && partOf(letter, request) > 0;
  return isQueueFull(asker, isPart ? byteLength + partBytes : byteLength);
}

/** Which part of the reply it is: 0 when it is whole. Another replica counted its parts, of which some may be lost. */
function partOf({ part, more }: Letter, request: Message): number {
  if (part !== undefined && part > 0) return part;
  return more !== true && request.parts === 0 ? 0 : request.parts + 1;
}
