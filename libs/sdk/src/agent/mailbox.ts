import {
  type Delivery,
  DeliveryClass,
  type SendOutcome,
  type SubscriptionResult,
} from "@nexus/proto/mesh";
import type { Logger, NexusError } from "@nexus/shared";
import { fromPayload } from "../payload.ts";
import { type Cause, causeOf } from "./cause.ts";
import { DurableInbox, Unhandled } from "./durable-inbox.ts";
import { HandlerContext } from "./handler-context.ts";
import type {
  InboundMessage,
  MessageContext,
  MessageHandler,
  Messenger,
  SubscribeOptions,
} from "./messages.ts";
import { Outbound, type Resumption } from "./outbound.ts";
import type { Outbox } from "./outbox.ts";
import { messageError } from "./outcome-error.ts";
import { Recent } from "./recent.ts";
import { NO_HANDLER, type Refusal, Replies, refusalOf } from "./replies.ts";
import type { Asked } from "./reply-parts.ts";
import { runHandlers } from "./run-handlers.ts";
import { leftOf, unsendable } from "./send-order.ts";
import { fitsPattern, type Topic } from "./topic.ts";

/** Deliveries granted ahead: those at the router, in a handler's hands, or done and not granted again yet. */
export const MESSAGE_CREDIT = 1024;
/** Subscriptions of an agent; the router's own limit. */
const SUBSCRIPTIONS_MAX = 256;
const PATTERN = /^(([*]|[A-Za-z0-9_-]+)([.]([*]|[A-Za-z0-9_-]+)){0,14}([.]>)?|>)$/;
const PATTERN_LENGTH_MAX = 256;
const GROUP_LENGTH_MAX = 128;

interface LocalSubscription {
  readonly pattern: string;
  readonly group: string;
  readonly durable: boolean;
  readonly handlers: Set<MessageHandler>;
  /** Who waits to hear that it holds. */
  waiters: { readonly resolve: () => void; readonly reject: (error: NexusError) => void }[];
  holds: boolean;
}

/** Sends and receives an agent's messages over its session. */
export class Mailbox {
  readonly #outbox: Outbox;
  readonly #logger: Logger;
  readonly #outbound: Outbound;
  readonly #replies: Replies;
  readonly #durable: DurableInbox;
  readonly #handlers = new Map<string, MessageHandler>();
  readonly #subscriptions = new Map<string, LocalSubscription>();
  /** Handlers of requests that run, by delivery. */
  readonly #running = new Map<string, AbortController>();
  /** Counts streams: each begins with its own credit, so what an older one's handlers held is void. */
  #stream = 0;
  /** Deliveries that were acknowledged on this stream; credit bounds how many of them may be on their way. */
  readonly #acked = new Recent<string>(MESSAGE_CREDIT);
  /** Deliveries of this stream whose handlers run. */
  #handling = 0;
  /** Deliveries of this stream that are done and whose credit was not granted again yet. */
  #done = 0;

  constructor(options: { readonly outbox: Outbox; readonly logger: Logger }) {
    const { outbox, logger } = options;
    this.#outbox = outbox;
    this.#logger = logger;
    this.#outbound = new Outbound(outbox);
    this.#replies = new Replies(outbox, logger);
    this.#durable = new DurableInbox({
      outbox,
      logger,
      handle: (delivery) => this.#handleDurable(delivery),
      onDone: (stream) => this.#handled(stream),
    });
  }

  /** What a piece of code can say; `cause` is what it says it for. */
  messenger(cause?: Cause): Messenger {
    const out = this.#outbound;
    const order = (
      to: Parameters<Messenger["requestMany"]>[0] | string,
      subject: string,
      body: unknown,
      options = {},
    ) => ({
      to,
      subject,
      body,
      options,
      cause,
    });
    return {
      send: (to, subject, body, options) => out.send(order(to, subject, body, options)),
      request: (to, subject, body, options) => out.request(order(to, subject, body, options)),
      requestMany: (to, subject, body, options) =>
        out.requestMany(order(to, subject, body, options)),
      requestStream: (to, subject, body, options) =>
        out.requestStream(order(to, subject, body, options)),
      publish: (topic, body, options) =>
        out.send(order({ topic: topicName(topic) }, "", body, options)),
      subscribe: (topic, handler, options) =>
        this.#subscribe(topicName(topic), handler as MessageHandler, options),
    };
  }

  /** Adds a handler; a subject wins over `*`. */
  on(subject: string, handler: MessageHandler): void {
    this.#handlers.set(subject, handler);
  }

  /** Takes in a delivery and hands it to its waiter or handler. Its credit is granted again once the handler is done with it, well
   * or not, so that nobody is sent more than it can handle. */
  deliver(delivery: Delivery): void {
    const stream = this.#stream;
    this.#handling += 1;
    if (delivery.deliveryClass === DeliveryClass.DURABLE) {
      this.#durable.take(delivery, stream);
      return;
    }
    if (delivery.inReplyTo !== "") {
      const taken = (): void => {
        if (stream === this.#stream) this.#ack(delivery.deliveryId);
        this.#handled(stream);
      };
      if (!this.#outbound.takeReply(delivery, taken)) taken();
      return;
    }
    this.#ack(delivery.deliveryId);
    const handling = this.#handle(delivery);
    if (handling === undefined) this.#handled(stream);
    else void this.#follow(delivery, stream, handling);
  }

  /** Hands a message to its handlers; returns what is to be waited for. */
  #handle(delivery: Delivery): Promise<void> | undefined {
    try {
      const handlers = this.#findHandlers(delivery);
      if (handlers.length === 0) {
        const { subject, topic } = delivery;
        this.#logger.warn({ subject, topic }, "no handler for the message");
        this.#decline(delivery, NO_HANDLER);
        return undefined;
      }
      if (delivery.expectsReply) return this.#answer(delivery, handlers);
      const ctx = this.#context(delivery, () => new AbortController());
      return runHandlers(handlers, toInbound(delivery), ctx);
    } catch (error) {
      this.#handlerFailed(delivery, error);
      return undefined;
    }
  }

  /** The last ones are kept: what the stream takes along as it ends the next one says again. */
  #ack(deliveryId: string): void {
    this.#outbox.ack({ deliveryId });
    this.#acked.push(deliveryId);
  }

  async #follow(delivery: Delivery, stream: number, handling: Promise<void>): Promise<void> {
    try {
      await handling;
    } catch (error) {
      this.#handlerFailed(delivery, error);
    } finally {
      this.#handled(stream);
    }
  }

  #handlerFailed(delivery: Delivery, error: unknown): void {
    const { subject } = delivery;
    this.#logger.error({ err: error, subject }, "a message handler failed");
    this.#decline(delivery, refusalOf(error));
  }

  /** Whoever waits for a reply hears at once that there is none. */
  #decline(delivery: Delivery, why: Refusal): void {
    if (delivery.expectsReply) this.#replies.decline(toAsked(delivery), why);
  }

  /** Takes in the router's word on a message sent. */
  settle(outcome: SendOutcome): void {
    if (!this.#outbound.settle(outcome)) this.#replies.settle(outcome);
  }

  /** Takes in the router's word on a subscription. */
  subscribed({ pattern, group, reason }: SubscriptionResult): void {
    const entry = this.#subscriptions.get(keyOf(pattern, group));
    if (entry === undefined) return;
    entry.holds = reason === "";
    // What could not be stored is said again.
    if (reason === "UNAVAILABLE") this.#say(entry);
    if (reason === "UNAVAILABLE" && entry.waiters.length > 0) return;
    for (const { resolve, reject } of entry.waiters.splice(0)) {
      if (reason === "") resolve();
      else reject(messageError("exhausted", "SUBSCRIPTION_LIMIT", `The router says ${reason}.`));
    }
    if (reason === "SUBSCRIPTION_LIMIT") this.#subscriptions.delete(keyOf(pattern, group));
  }

  /** Nobody waits for the reply to a delivery any more. */
  cancelled(deliveryId: string): void {
    const text = "The sender took its request back.";
    this.#running.get(deliveryId)?.abort(messageError("cancelled", "CANCELLED", text));
  }

  /** A stream is open. */
  connected(how: Resumption): void {
    const { continued } = how;
    if (continued) for (const deliveryId of this.#acked.values()) this.#outbox.ack({ deliveryId });
    this.#acked.clear();
    for (const entry of this.#subscriptions.values()) this.#say(entry);
    this.#replies.connected(continued);
    this.#outbound.connected(how);
  }

  /** The stream is over. Unless it ended in order (`isComplete`), what was sent may or may not have arrived. */
  connectionLost(isComplete: boolean): void {
    this.#stream += 1;
    this.#handling = 0;
    this.#done = 0;
    this.#durable.connectionLost();
    this.#replies.connectionLost(isComplete);
    this.#outbound.connectionLost(isComplete);
  }

  /** There will be no other stream: fails what waits, and everything from now on, with this error. */
  close(error: NexusError): void {
    this.#outbound.close(error);
    this.#replies.close();
    for (const { waiters } of this.#subscriptions.values()) {
      for (const { reject } of waiters.splice(0)) reject(error);
    }
  }

  async #subscribe(
    pattern: string,
    handler: MessageHandler,
    { group = "", durable = false }: SubscribeOptions = {},
  ): Promise<() => Promise<void>> {
    if (!PATTERN.test(pattern) || pattern.length > PATTERN_LENGTH_MAX) {
      throw unsendable(
        "A pattern is words with dots between them; a word may be *, the last one >.",
      );
    }
    if (group.length > GROUP_LENGTH_MAX) {
      throw unsendable(`A group has at most ${GROUP_LENGTH_MAX} characters.`);
    }
    const key = keyOf(pattern, group);
    let entry = this.#subscriptions.get(key);
    if (entry === undefined || entry.durable !== durable) {
      if (entry === undefined && this.#subscriptions.size >= SUBSCRIPTIONS_MAX) {
        const text = `An agent has at most ${SUBSCRIPTIONS_MAX} subscriptions.`;
        throw messageError("exhausted", "SUBSCRIPTION_LIMIT", text);
      }
      const handlers = entry?.handlers ?? new Set();
      entry = { pattern, group, durable, handlers, waiters: entry?.waiters ?? [], holds: false };
      this.#subscriptions.set(key, entry);
      this.#say(entry);
    }
    entry.handlers.add(handler);
    await untilHolds(entry);
    return async () => this.#unsubscribe(key, handler);
  }

  #unsubscribe(key: string, handler: MessageHandler): void {
    const entry = this.#subscriptions.get(key);
    if (entry?.handlers.delete(handler) !== true || entry.handlers.size > 0) return;
    this.#subscriptions.delete(key);
    const { pattern, group, durable } = entry;
    this.#outbox.unsubscribe({ pattern, group, durable });
  }

  #say({ pattern, group, durable }: LocalSubscription): void {
    this.#outbox.subscribe({ pattern, group, durable });
  }

  /** Grants credit again in lots: half of what no handler holds. */
  #handled(stream: number): void {
    if (stream !== this.#stream) return;
    this.#handling -= 1;
    this.#done += 1;
    if (this.#done * 2 < MESSAGE_CREDIT - this.#handling) return;
    this.#outbox.credit({ messages: this.#done });
    this.#done = 0;
  }

  #findHandlers({ topic, subject }: Delivery): MessageHandler[] {
    if (topic !== "") {
      const fitting = [...this.#subscriptions.values()].filter(({ pattern }) =>
        fitsPattern(pattern, topic),
      );
      return [...new Set(fitting.flatMap(({ handlers }) => [...handlers]))];
    }
    const handler = this.#handlers.get(subject) ?? this.#handlers.get("*");
    return handler === undefined ? [] : [handler];
  }

  /** All of a topic's handlers have to be done with a message. */
  #handleDurable(delivery: Delivery): Promise<void> | undefined {
    const handlers = this.#findHandlers(delivery);
    if (handlers.length === 0) {
      // A topic's handler may still be on its way; a subject without one stays so.
      throw new Unhandled(delivery.topic === "");
    }
    const ctx = this.#context(delivery, () => new AbortController());
    return runHandlers(handlers, toInbound(delivery), ctx);
  }

  async #answer(delivery: Delivery, [handler]: readonly MessageHandler[]): Promise<void> {
    const message = toInbound(delivery);
    const abort = new AbortController();
    const ctx = this.#context(delivery, () => abort);
    const { deliveryId } = delivery;
    const asked = toAsked(delivery);
    const expire = () =>
      abort.abort(messageError("deadline", "MESSAGE_EXPIRED", "Nobody waits any more."));
    const timer = setTimeout(expire, leftOf(delivery));
    this.#running.set(deliveryId, abort);
    try {
      await this.#replies.answer(asked, await handler?.(message, ctx), abort.signal);
    } finally {
      clearTimeout(timer);
      this.#running.delete(deliveryId);
    }
  }

  #context(delivery: Delivery, makeAbort: () => AbortController): MessageContext {
    return new DeliveryContext(this, delivery, makeAbort);
  }
}

/** What the handler of a message gets. */
class DeliveryContext extends HandlerContext {
  readonly #mailbox: Mailbox;
  readonly #delivery: Delivery;
  readonly #makeAbort: () => AbortController;
  readonly #nowMs = Date.now();

  constructor(mailbox: Mailbox, delivery: Delivery, makeAbort: () => AbortController) {
    super();
    this.#mailbox = mailbox;
    this.#delivery = delivery;
    this.#makeAbort = makeAbort;
  }

  protected override makeMessenger(): Messenger {
    return this.#mailbox.messenger(causeOf(this.#delivery, this.#nowMs));
  }

  protected override makeAbort(): AbortController {
    return this.#makeAbort();
  }
}

function untilHolds(entry: LocalSubscription): Promise<void> {
  if (entry.holds) return Promise.resolve();
  return new Promise((resolve, reject) => {
    entry.waiters.push({ resolve, reject });
  });
}

function toInbound(delivery: Delivery): InboundMessage {
  return {
    from: delivery.fromPrincipalId,
    subject: delivery.subject,
    topic: delivery.topic,
    messageId: delivery.messageId,
    attempt: Math.max(1, delivery.attempt),
    body: fromPayload(delivery.payload),
    expectsReply: delivery.expectsReply,
    deadlineAtMs: Date.now() + leftOf(delivery),
    traceparent: delivery.traceparent,
  };
}

function toAsked(delivery: Delivery): Asked {
  return { deliveryId: delivery.deliveryId, deadlineAtMs: Date.now() + leftOf(delivery) };
}

function topicName(topic: string | Topic<unknown>): string {
  return typeof topic === "string" ? topic : topic.name;
}

function keyOf(pattern: string, group: string): string {
  return `${pattern} ${group}`;
}
