/** Replies: each goes back the way its request came, within the request's time. */
import type { Outward } from "../remote/outward.ts";
import { RemoteSender } from "../remote/remote-sender.ts";
import { Session } from "../session/session.ts";
import { Caller } from "./caller.ts";
import { Gathering } from "./gathering.ts";
import type { Letter, Verdict } from "./letter.ts";
import { Message, type Receiver, type Sender } from "./message.ts";
import {
  ASKER_FULL,
  ASKER_GONE,
  isQueueFull,
  NOT_AWAITED,
  PARTS_NOT_TAKEN,
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

/** Takes replies to requests that the engine knows. */
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

  /** There is no room for a reply. A whole one may be sent again; a part uses up its number, so that the asker sees the gap. */
  refuse(sender: Sender, letter: Letter, request: Message | undefined, verdict: Verdict): void {
    if (request !== undefined) request.parts = partOf(letter, request);
    this.#engine.answer(sender, letter, verdict);
  }

  /** Whoever asks for a reply in one piece gets none: one of several would pass for all. */
  #refuseParts({ sender, letter, request }: ReplyParts): void {
    request.receiver.cancelDelivery(request.deliveryId);
    this.#engine.conclude(request, PARTS_NOT_TAKEN);
    this.#engine.answer(sender, letter, PARTS_NOT_TAKEN);
  }

  #toCaller(asker: Sender, { sender, letter, request }: ReplyParts): void {
    if (asker instanceof Caller) asker.takeReply(letter.payload);
    this.#engine.conclude(request, { outcome: "delivered", text: "" });
    this.#engine.answer(sender, letter, { outcome: "delivered", text: "" });
  }

  #toSession(asker: Session, { sender, letter, request }: ReplyParts, nowMs: number): void {
    if (asker.over) {
      this.#engine.answer(sender, letter, ASKER_GONE);
    } else if (isQueueFull(asker, letter.payload.byteLength)) {
      this.refuse(sender, letter, request, ASKER_FULL);
    } else if (!this.#engine.hasRoomForReply(sender, letter)) {
      this.refuse(sender, letter, request, ROUTER_FULL);
    } else {
      const message = this.#accept({ sender, letter, request }, asker, nowMs);
      if (!message.more) request.phase = "answered";
      this.#engine.enqueue(asker, message);
    }
  }

  /** The request has its outcome there, with the reply; here it is over once that is on its way. */
  #toReplica(asker: RemoteSender, parts: ReplyParts, nowMs: number): void {
    const { sender, letter, request } = parts;
    if (!this.#engine.hasRoomForReply(sender, letter)) {
      this.refuse(sender, letter, request, ROUTER_FULL);
      return;
    }
    const message = this.#accept(parts, asker.peer.askers, nowMs);
    const isTaken = this.#outward.reply(asker, message);
    if (isTaken && !message.more) {
      this.#engine.conclude(request, { outcome: "delivered", text: "" });
    }
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

/** Which part of the reply it is: 0 when it is whole. Another replica counted its parts, of which some may be lost. */
function partOf({ part, more }: Letter, request: Message): number {
  if (part !== undefined && part > 0) return part;
  return more !== true && request.parts === 0 ? 0 : request.parts + 1;
}
