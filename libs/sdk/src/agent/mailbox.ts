import { durationFromMs, durationMs } from "@bufbuild/protobuf/wkt";
import type { Payload } from "@nexus/proto/common";
import { type Delivery, DeliveryOutcome, type SendOutcome } from "@nexus/proto/mesh";
import { createIds, type Logger, NexusError } from "@nexus/shared";
import { fromPayload, toPayload } from "../payload.ts";
import type { Outbox } from "./outbox.ts";
import { currentTraceparent } from "./trace.ts";

/** How one message is sent. */
export interface MessageOptions {
  /** How long the message, and for a request the reply, may take; 1 ms to 10 minutes, default 30 s. */
  readonly timeoutMs?: number;
}

/** A message for this agent. */
export interface InboundMessage {
  /** Who sent it, as its token says. */
  readonly from: string;
  readonly subject: string;
  /** Decoded body. */
  readonly body: unknown;
  /** True when the sender waits: the handler's result is the reply. */
  readonly expectsReply: boolean;
  /** Epoch milliseconds after which nobody waits any more. */
  readonly deadlineAtMs: number;
}

/** Takes in a message; its result, or what its promise resolves to, answers a request and is dropped for a plain message. */
export type MessageHandler = (message: InboundMessage) => unknown;

/** Messages that one agent may be waiting on at once. */
export const PENDING_MESSAGES_MAX = 10_000;
/** Deliveries granted ahead: those at the router, in a handler's hands, or done and not granted again yet. */
export const MESSAGE_CREDIT = 1024;
const DEFAULT_TIMEOUT_MS = 30_000;
const TIMEOUT_MAX_MS = 600_000;
/** Longest agent id and subject, in characters. */
const NAME_LENGTH_MAX = 128;
/** The router's word should come first; ours is the safety net for a broken stream. */
const TIMEOUT_GRACE_MS = 1_000;

interface Waiting {
  readonly wantsReply: boolean;
  readonly resolve: (body: unknown) => void;
  readonly reject: (error: NexusError) => void;
  readonly timer: NodeJS.Timeout;
}

/** Sends and receives an agent's messages over its session. */
export class Mailbox {
  readonly #outbox: Outbox;
  readonly #logger: Logger;
  readonly #ids = createIds();
  readonly #handlers = new Map<string, MessageHandler>();
  readonly #waiting = new Map<string, Waiting>();
  /** Counts streams: each begins with its own credit, so what an older one's handlers held is void. */
  #stream = 0;
  /** Deliveries of this stream whose handlers run. */
  #handling = 0;
  /** Deliveries of this stream that are done and whose credit was not granted again yet. */
  #done = 0;
  #closedBy: NexusError | undefined;

  constructor(options: { readonly outbox: Outbox; readonly logger: Logger }) {
    this.#outbox = options.outbox;
    this.#logger = options.logger;
  }

  /** Resolves when the receiver took the message in. */
  async send(to: string, subject: string, body: unknown, how?: MessageOptions): Promise<void> {
    await this.#post(to, subject, body, { ...how, expectsReply: false });
  }

  /** Resolves with the receiver's reply. */
  async request(
    to: string,
    subject: string,
    body: unknown,
    how?: MessageOptions,
  ): Promise<unknown> {
    return this.#post(to, subject, body, { ...how, expectsReply: true });
  }

  /** Sets the handler of a subject; an exact subject wins over `*`. */
  on(subject: string, handler: MessageHandler): void {
    this.#handlers.set(subject, handler);
  }

  /** Takes in a delivery: acknowledges it and hands it to its waiter or handler. Its credit is granted again once
   * the handler is done with it, well or not, so that nobody is sent more than it can handle. */
  deliver(delivery: Delivery): void {
    this.#outbox.ack({ deliveryId: delivery.deliveryId });
    const stream = this.#stream;
    this.#handling += 1;
    if (delivery.inReplyTo !== "") {
      settleReply(this.#finish(delivery.inReplyTo), delivery.payload);
      this.#handled(stream);
      return;
    }
    void this.#answer(delivery)
      .catch((error: unknown) => {
        this.#logger.error({ err: error, subject: delivery.subject }, "a message handler failed");
      })
      .finally(() => this.#handled(stream));
  }

  /** Takes in the router's word on a message sent. */
  settle(outcome: SendOutcome): void {
    const delivered = outcome.outcome === DeliveryOutcome.DELIVERED;
    // The reply itself settles a request; the word that it was delivered may come before it.
    if (delivered && this.#waiting.get(outcome.messageId)?.wantsReply === true) return;
    const entry = this.#finish(outcome.messageId);
    if (delivered) entry?.resolve(undefined);
    else entry?.reject(outcomeError(outcome));
  }

  /** The stream broke: what was sent may or may not have arrived. */
  connectionLost(): void {
    this.#stream += 1;
    this.#handling = 0;
    this.#done = 0;
    const text = "The connection broke; the message may or may not have arrived.";
    this.#rejectAll(failure("unavailable", "CONNECTION_LOST", text));
  }

  /** There will be no other stream: fails what waits, and everything from now on, with this error. */
  close(error: NexusError): void {
    this.#closedBy ??= error;
    this.#rejectAll(error);
  }

  #rejectAll(error: NexusError): void {
    for (const messageId of this.#waiting.keys()) this.#finish(messageId)?.reject(error);
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

  #post(to: string, subject: string, body: unknown, how: PostOptions): Promise<unknown> {
    if (this.#closedBy !== undefined) return Promise.reject(this.#closedBy);
    if (Math.max(this.#waiting.size, this.#outbox.sendsWaiting) >= PENDING_MESSAGES_MAX) {
      const text = "Too many messages are unanswered.";
      return Promise.reject(failure("exhausted", "QUEUE_FULL", text));
    }
    const messageId = this.#ids.next("msg");
    const timeoutMs = how.timeoutMs ?? DEFAULT_TIMEOUT_MS;
    assertSendable(to, subject, timeoutMs);
    const payload = toPayload(body);
    return new Promise((resolve, reject) => {
      const expire = () => {
        const text = `No word about the message to ${to} in time.`;
        this.#finish(messageId)?.reject(failure("deadline", "MESSAGE_EXPIRED", text));
      };
      const timer = setTimeout(expire, timeoutMs + TIMEOUT_GRACE_MS);
      this.#waiting.set(messageId, { wantsReply: how.expectsReply, resolve, reject, timer });
      this.#outbox.send({
        messageId,
        toAgentId: to,
        subject,
        payload,
        expectsReply: how.expectsReply,
        timeout: durationFromMs(timeoutMs),
        traceparent: currentTraceparent(),
      });
    });
  }

  #finish(messageId: string): Waiting | undefined {
    const entry = this.#waiting.get(messageId);
    if (entry === undefined) return undefined;
    clearTimeout(entry.timer);
    this.#waiting.delete(messageId);
    return entry;
  }

  async #answer(delivery: Delivery): Promise<void> {
    const handler = this.#handlers.get(delivery.subject) ?? this.#handlers.get("*");
    if (handler === undefined) {
      this.#logger.warn({ subject: delivery.subject }, "no handler for the message's subject");
      return;
    }
    const leftMs = delivery.timeout ? durationMs(delivery.timeout) : DEFAULT_TIMEOUT_MS;
    const reply = await handler({
      from: delivery.fromPrincipalId,
      subject: delivery.subject,
      body: fromPayload(delivery.payload),
      expectsReply: delivery.expectsReply,
      deadlineAtMs: Date.now() + leftMs,
    });
    if (!delivery.expectsReply) return;
    const messageId = this.#ids.next("msg");
    const payload = toPayload(reply);
    this.#outbox.send({ messageId, inReplyTo: delivery.deliveryId, payload });
  }
}

interface PostOptions extends MessageOptions {
  readonly expectsReply: boolean;
}

/** One item that breaks the contract's rules ends the whole session, so it must not get into a frame. */
function assertSendable(to: string, subject: string, timeoutMs: number): void {
  if (to === "" || to.length > NAME_LENGTH_MAX) {
    throw failure(
      "invalid",
      "REQUEST_INVALID",
      `An agent id has 1 to ${NAME_LENGTH_MAX} characters.`,
    );
  }
  if (subject.length > NAME_LENGTH_MAX) {
    throw failure(
      "invalid",
      "REQUEST_INVALID",
      `A subject has at most ${NAME_LENGTH_MAX} characters.`,
    );
  }
  if (!(timeoutMs >= 1 && timeoutMs <= TIMEOUT_MAX_MS)) {
    throw failure("invalid", "REQUEST_INVALID", "A message's timeout is 1 ms to 10 minutes.");
  }
}

function settleReply(entry: Waiting | undefined, payload: Payload | undefined): void {
  if (entry === undefined) return;
  try {
    entry.resolve(fromPayload(payload));
  } catch (error) {
    entry.reject(NexusError.from(error));
  }
}

function outcomeError(outcome: SendOutcome): NexusError {
  const text = outcome.message;
  switch (outcome.outcome) {
    case DeliveryOutcome.OVERLOADED: {
      const retryAfterMs =
        outcome.retryAfter === undefined ? 1_000 : durationMs(outcome.retryAfter);
      const message = text || "The receiver's queue is full.";
      return new NexusError({
        kind: "exhausted",
        reason: "AGENT_OVERLOADED",
        message,
        details: { retryAfterMs },
      });
    }
    case DeliveryOutcome.EXPIRED:
      return failure(
        "deadline",
        "MESSAGE_EXPIRED",
        text || "The receiver did not take it in time.",
      );
    case DeliveryOutcome.NO_SUCH_AGENT:
      return failure("not_found", "AGENT_NOT_CONNECTED", text || "No such agent has a session.");
    default:
      return failure("invalid", "MESSAGE_REFUSED", text || "The router refused the message.");
  }
}

function failure(kind: NexusError["kind"], reason: string, message: string): NexusError {
  return new NexusError({ kind, reason, message });
}
