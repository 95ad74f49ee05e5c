/** What an agent has sent and has no final word on yet. */
import type { Payload } from "@nexus/proto/common";
import { type Delivery, DeliveryClass, DeliveryOutcome, type SendOutcome } from "@nexus/proto/mesh";
import {
  type AsyncQueue,
  createAsyncQueue,
  createIds,
  NexusError,
  onAbort,
  PassingMap,
} from "@nexus/shared";
import { fromPayload } from "../payload.ts";
import type { Receipt, Reply } from "./messages.ts";
import type { Outbox, SendInit } from "./outbox.ts";
import { messageError, outcomeError } from "./outcome-error.ts";
import { DEFAULT_TIMEOUT_MS, type Order, toSend, type Wish } from "./send-order.ts";

/** Messages that one agent may be waiting on at once. */
export const PENDING_MESSAGES_MAX = 10_000;
/** The router's word should come first; ours is the safety net for a broken stream. */
const TIMEOUT_GRACE_MS = 1_000;
/** How late that net may be. */
const SWEEP_MS = 250;
/** Parts of one reply that wait for their reader. Credit bounds them first. */
const PARTS_MAX = 10_000;

/** What the router says of what earlier streams brought. */
export interface Resumption {
  /** Requests are still open there. */
  readonly held: boolean;
  /** It has all that the last stream brought, which ended in order. */
  readonly continued: boolean;
}

interface Waiting {
  readonly wish: Wish;
  readonly send: SendInit;
  readonly durable: boolean;
  readonly replies: Reply[];
  /** How many replies the router's word says there are; it may come before the last of them. */
  promised: number | undefined;
  readonly parts: AsyncQueue<Part> | undefined;
  lastPart: number;
  /** How often it was given to a stream. */
  tries: number;
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: NexusError) => void;
  readonly expiresAtMs: number;
  /** Lets go of the caller's signal. */
  readonly release: (() => void) | undefined;
}

const IN_PARTS = "The receiver answers in parts: ask it with requestStream.";
const CUT = "A part of the reply was lost on the way.";

/** Of everything that gathers none. */
const NO_REPLIES: Reply[] = [];

/** A part of a reply; `taken` says that its reader has it. */
interface Part {
  readonly body: unknown;
  readonly taken: () => void;
}

/** Owns the messages that wait for a word from the router. */
export class Outbound {
  readonly #outbox: Outbox;
  readonly #ids = createIds();
  readonly #waiting = new PassingMap<string, Waiting>();
  #sweeping: NodeJS.Timeout | undefined;
  #connected = false;
  /** The last stream ended in order, and the next one is to come: nothing is given up until it says whether the router still has it. */
  #turning = false;
  /** Messages that were taken back between two streams. */
  readonly #withdrawn: string[] = [];
  #closedBy: NexusError | undefined;

  constructor(outbox: Outbox) {
    this.#outbox = outbox;
  }

  /** Resolves with the outcome of a message. */
  send(order: Order): Promise<Receipt> {
    return this.#post(order, "outcome") as Promise<Receipt>;
  }

  /** Resolves with the reply. */
  request(order: Order): Promise<unknown> {
    return this.#post(order, "reply");
  }

  /** Resolves with the replies. */
  requestMany(order: Order): Promise<readonly Reply[]> {
    return this.#post(order, "replies") as Promise<readonly Reply[]>;
  }

  /** Yields the parts of the reply. */
  async *requestStream(order: Order): AsyncGenerator {
    const parts = createAsyncQueue<Part>({ max: PARTS_MAX });
    const messageId = order.options.messageId ?? this.#ids.next("msg");
    const named = { ...order, options: { ...order.options, messageId } };
    const over = this.#post(named, "parts", parts).then(
      () => parts.end(),
      (error: unknown) => parts.fail(NexusError.from(error)),
    );
    try {
      for await (const { body, taken } of parts) {
        taken();
        yield body;
      }
      await over;
    } finally {
      // Refused for its id, it must not take back the message that has the id.
      if (this.#waiting.get(messageId)?.parts === parts) this.#cancel(messageId);
    }
  }

  /** Takes in a reply. True when it is only done with once `taken` is called. */
  takeReply(delivery: Delivery, taken: () => void): boolean {
    const entry = this.#waiting.get(delivery.inReplyTo);
    if (entry === undefined) return false;
    if (entry.parts !== undefined) return this.#takePart(entry, entry.parts, delivery, taken);
    if (delivery.more || delivery.part > 0) {
      this.#withdraw(delivery.inReplyTo, messageError("precondition", "REPLY_IN_PARTS", IN_PARTS));
      return false;
    }
    if (entry.wish === "replies") {
      entry.replies.push({ from: delivery.fromPrincipalId, body: tryRead(delivery.payload) });
      if (entry.promised === entry.replies.length) {
        this.#finish(delivery.inReplyTo)?.resolve(entry.replies);
      }
    } else {
      this.#finish(delivery.inReplyTo);
      settleReply(entry, delivery.payload);
    }
    return false;
  }

  #takePart(
    entry: Waiting,
    parts: AsyncQueue<Part>,
    delivery: Delivery,
    taken: () => void,
  ): boolean {
    const { inReplyTo, payload, more } = delivery;
    const number = delivery.part === 0 ? entry.lastPart + 1 : delivery.part;
    // A part that was not acknowledged comes again with a new stream.
    if (number <= entry.lastPart) return false;
    if (number > entry.lastPart + 1) {
      this.#withdraw(inReplyTo, messageError("unavailable", "REPLY_CUT", CUT));
      return false;
    }
    entry.lastPart = number;
    const isTaken = parts.push({ body: tryRead(payload), taken });
    if (isTaken && !more) this.#finish(inReplyTo)?.resolve(undefined);
    return isTaken;
  }

  /** Takes in the router's word on a message; false when it waits for none with that name. */
  settle(outcome: SendOutcome): boolean {
    const entry = this.#waiting.get(outcome.messageId);
    if (entry === undefined) return false;
    this.#settle(entry, outcome);
    return true;
  }

  #settle(entry: Waiting, outcome: SendOutcome): void {
    const { messageId } = outcome;
    const { DELIVERED, QUEUED } = DeliveryOutcome;
    const isThrough = outcome.outcome === DELIVERED || outcome.outcome === QUEUED;
    // The reply itself, or its last part, settles a request; the word that it was delivered may come before it.
    if (isThrough && (entry.wish === "reply" || entry.wish === "parts")) return;
    if (isRepeat(entry, outcome)) return;
    if (isThrough && entry.wish === "replies" && entry.replies.length < outcome.replies) {
      entry.promised = outcome.replies;
      return;
    }
    this.#finish(messageId);
    if (isThrough) entry.resolve(entry.wish === "replies" ? entry.replies : toReceipt(outcome));
    else if (isNobody(entry, outcome)) entry.resolve(toReceipt(outcome));
    else entry.reject(outcomeError(outcome));
  }

  /** A stream is open: messages without a word are sent again, in order: durable ones, and after a stream that ended in order all of
   * them, if the router holds what that one brought. */
  connected({ held, continued }: Resumption): void {
    const knows = this.#turning && continued;
    if (this.#turning && !continued) this.#giveUpLost();
    if (!held) this.#cutReplies();
    for (const messageId of this.#withdrawn.splice(0)) this.#outbox.cancelSend(messageId);
    this.#connected = true;
    this.#turning = false;
    for (const entry of this.#waiting.values()) {
      if (!entry.durable && !knows && entry.tries > 0) continue;
      entry.tries += 1;
      this.#outbox.send(entry.send);
    }
  }

  /** The stream is over. Unless it ended in order (`isComplete`), what was sent may or may not have arrived. What is durable is sent again; a
   * reply in parts goes on. */
  connectionLost(isComplete: boolean): void {
    // A stream that got no welcome brought nothing.
    if (this.#turning && !this.#connected) return;
    this.#turning = this.#connected && isComplete;
    this.#connected = false;
    if (!this.#turning) this.#giveUpLost();
  }

  /** The router has none of what earlier streams brought: no further part comes. */
  #cutReplies(): void {
    const text = "The session goes on elsewhere: the rest of the reply is lost.";
    for (const [messageId, { lastPart }] of this.#waiting.entries()) {
      if (lastPart === 0) continue;
      this.#finish(messageId)?.reject(messageError("unavailable", "REPLY_CUT", text));
    }
  }

  #giveUpLost(): void {
    for (const [messageId, entry] of this.#waiting.entries()) {
      if (isLost(entry)) this.#finish(messageId)?.reject(lostError());
    }
  }

  /** There will be no other stream: fails what waits, and everything from now on, with this error. */
  close(error: NexusError): void {
    this.#closedBy ??= error;
    for (const messageId of this.#waiting.keys()) this.#finish(messageId)?.reject(error);
  }

  /** Never throws: what cannot be sent is a rejection. */
  #post(order: Order, wish: Wish, parts?: AsyncQueue<Part>): Promise<unknown> {
    try {
      return this.#begin(order, wish, parts);
    } catch (error) {
      return Promise.reject(error instanceof Error ? error : new Error(String(error)));
    }
  }

  #begin(order: Order, wish: Wish, parts: AsyncQueue<Part> | undefined): Promise<unknown> {
    if (this.#closedBy !== undefined) throw this.#closedBy;
    if (Math.max(this.#waiting.size, this.#outbox.sendsWaiting) >= PENDING_MESSAGES_MAX) {
      throw messageError("exhausted", "QUEUE_FULL", "Too many messages are unanswered.");
    }
    const { signal } = order.options;
    if (signal?.aborted === true) throw cancelledError();
    const send = toSend(order, wish, order.options.messageId ?? this.#ids.next("msg"));
    const { messageId = "" } = send;
    if (this.#waiting.has(messageId)) {
      const text = `A message ${messageId} has no outcome yet.`;
      throw messageError("conflict", "MESSAGE_ID_IN_USE", text);
    }
    const durable = send.deliveryClass === DeliveryClass.DURABLE;
    const timeoutMs = order.options.timeoutMs ?? DEFAULT_TIMEOUT_MS;
    // Without a stream a durable message waits here for the next one, and between two streams any does.
    const isSent = this.#connected || !(durable || this.#turning);
    return new Promise((resolve, reject) => {
      this.#waiting.set(messageId, {
        wish,
        send,
        durable,
        replies: wish === "replies" ? [] : NO_REPLIES,
        promised: undefined,
        parts,
        lastPart: 0,
        tries: isSent ? 1 : 0,
        resolve,
        reject,
        expiresAtMs: performance.now() + timeoutMs + TIMEOUT_GRACE_MS,
        release: signal === undefined ? undefined : this.#follow(signal, messageId),
      });
      this.#sweeping ??= setInterval(() => this.#sweep(), SWEEP_MS).unref();
      if (isSent) this.#outbox.send(send);
    });
  }

  #follow(signal: AbortSignal, messageId: string): () => void {
    return onAbort(signal, () => this.#cancel(messageId));
  }

  /** Gives up what has no word in time. One look at all of them now and then: a timer for each costs more than the rest of a message. */
  #sweep(): void {
    const nowMs = performance.now();
    for (const [messageId, { expiresAtMs }] of this.#waiting.entries()) {
      if (expiresAtMs > nowMs) continue;
      const text = "No word about the message in time.";
      this.#finish(messageId)?.reject(messageError("deadline", "MESSAGE_EXPIRED", text));
    }
    if (this.#waiting.size > 0) return;
    clearInterval(this.#sweeping);
    this.#sweeping = undefined;
  }

  /** What is durable the router stores as it comes: it can be taken back as long as it never left. */
  #cancel(messageId: string): void {
    const entry = this.#waiting.get(messageId);
    if (entry?.durable !== true) {
      this.#withdraw(messageId, cancelledError());
      return;
    }
    const isHere = this.#outbox.takeBack(messageId);
    const neverLeft = entry.tries === 0 || (entry.tries === 1 && isHere);
    this.#finish(messageId)?.reject(neverLeft ? cancelledError() : tooLateError());
  }

  /** Nobody waits for a message any more, for this reason. */
  #withdraw(messageId: string, error: NexusError): void {
    const entry = this.#finish(messageId);
    if (entry === undefined) return;
    if (!this.#turning) this.#outbox.cancelSend(messageId);
    else if (entry.tries > 0) this.#withdrawn.push(messageId);
    entry.reject(error);
  }

  #finish(messageId: string): Waiting | undefined {
    const entry = this.#waiting.get(messageId);
    if (entry === undefined) return undefined;
    entry.release?.();
    this.#waiting.delete(messageId);
    return entry;
  }
}

/** The router still has what an earlier stream brought it: the outcome of that one is to come. */
function isRepeat({ tries }: Waiting, { outcome, reason }: SendOutcome): boolean {
  return tries > 1 && outcome === DeliveryOutcome.REFUSED && reason === "MESSAGE_ID_PENDING";
}

/** It left with a stream that is gone, and nothing says what became of it. */
function isLost({ durable, lastPart, tries }: Waiting): boolean {
  return !durable && lastPart === 0 && tries > 0;
}

/** Nobody listens to a topic: that is an answer to who publishes. */
function isNobody({ send, wish }: Waiting, { outcome }: SendOutcome): boolean {
  const toMany = (send.toTopic ?? "") !== "" || send.broadcast === true;
  return wish === "outcome" && toMany && outcome === DeliveryOutcome.NO_SUCH_AGENT;
}

function toReceipt(outcome: SendOutcome): Receipt {
  const { messageId, position, duplicate, receivers, missed } = outcome;
  return { messageId, position: Number(position), duplicate, receivers, missed };
}

function settleReply(entry: Waiting, payload: Payload | undefined): void {
  try {
    entry.resolve(fromPayload(payload));
  } catch (error) {
    entry.reject(NexusError.from(error));
  }
}

/** A body that cannot be read is shown as its bytes. */
function tryRead(payload: Payload | undefined): unknown {
  try {
    return fromPayload(payload);
  } catch {
    return payload?.data;
  }
}

function lostError(): NexusError {
  const text = "The connection broke; the message may or may not have arrived.";
  return messageError("unavailable", "CONNECTION_LOST", text);
}

function cancelledError(): NexusError {
  return messageError("cancelled", "CANCELLED", "The message was taken back.");
}

function tooLateError(): NexusError {
  const text = "It was too late to take the message back: it may be stored, and is delivered then.";
  return messageError("cancelled", "CANCELLED_TOO_LATE", text);
}
