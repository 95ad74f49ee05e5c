/** Replies: each goes back the way its request came, within the request's time. */
import { MESSAGE_QUEUE_MAX } from "../limits.ts";
import type { Outward } from "../remote/outward.ts";
import { RemoteSender } from "../remote/remote-sender.ts";
import { Session } from "../session/session.ts";
import { Caller } from "./caller.ts";
import { Gathering } from "./gathering.ts";
import type { Letter, Verdict } from "./letter.ts";
import { Message, type Receiver, type Sender } from "./message.ts";
import { ASKER_GONE, NOT_AWAITED, refused } from "./message-rules.ts";

/** What replies need of the engine. */
interface ReplyEngine {
  newDeliveryId(): string;
  accept(message: Message): Message;
  enqueue(receiver: Receiver, message: Message): void;
  conclude(message: Message, verdict: Verdict): void;
  answer(sender: Sender, letter: Letter, verdict: Verdict): void;
  overload(sender: Sender, letter: Letter, text: string): void;
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
    else if (asker instanceof Gathering) this.#toSession(asker.asker, parts, nowMs);
    else if (asker instanceof RemoteSender) this.#toReplica(asker, parts, nowMs);
    else this.#toCaller(asker, parts);
  }

  #toCaller(asker: Sender, { sender, letter, request }: ReplyParts): void {
    if (letter.more === true || request.parts > 0) {
      const verdict = refused("NOT_AWAITED", "the asker takes a reply in one piece");
      this.#engine.answer(sender, letter, verdict);
      return;
    }
    if (asker instanceof Caller) asker.takeReply(letter.payload);
    this.#engine.conclude(request, { outcome: "delivered", text: "" });
    this.#engine.answer(sender, letter, { outcome: "delivered", text: "" });
  }

  #toSession(asker: Session, { sender, letter, request }: ReplyParts, nowMs: number): void {
    if (asker.over) {
      this.#engine.answer(sender, letter, ASKER_GONE);
    } else if (asker.inbox.size >= MESSAGE_QUEUE_MAX) {
      this.#engine.overload(sender, letter, "the asker's queue is full");
    } else {
      const message = this.#accept({ sender, letter, request }, asker, nowMs);
      if (!message.more) request.phase = "answered";
      this.#engine.enqueue(asker, message);
    }
  }

  /** The request has its outcome there, with the reply; here it is over once that is on its way. */
  #toReplica(asker: RemoteSender, parts: ReplyParts, nowMs: number): void {
    const { request } = parts;
    const message = this.#accept(parts, asker.peer.askers, nowMs);
    if (!this.#outward.reply(asker, message)) request.parts -= 1;
    else if (!message.more) this.#engine.conclude(request, { outcome: "delivered", text: "" });
  }

  #accept({ sender, letter, request }: ReplyParts, receiver: Receiver, nowMs: number): Message {
    const expiresAtMs = Math.min(nowMs + letter.timeoutMs, request.expiresAtMs);
    const part = letter.more !== true && request.parts === 0 ? 0 : request.parts + 1;
    request.parts = part;
    if (request.phase === "sent") request.phase = "taken";
    const ids = { deliveryId: this.#engine.newDeliveryId(), inReplyTo: request.messageId };
    const parts = { sender, letter, receiver, nowMs, expiresAtMs, request, part };
    return this.#engine.accept(new Message({ ...parts, ...ids }));
  }
}
