/** What agents say to each other, as their code sees it. */
import type { Topic } from "./topic.ts";

/** How a message is kept. */
export interface DurableOptions {
  /** How long it is kept, 1 s to 7 days; default 24 h. */
  readonly ttlMs?: number;
  /** How long the receiver may be silent before it is sent again, 1 s to 10 minutes; default 30 s. Receivers of this SDK say by
   * themselves that they are still at work. */
  readonly ackWaitMs?: number;
}

/** How one message is sent. */
export interface MessageOptions {
  /** How long the message, and for a request the reply, may take; 1 ms to 10 minutes, default 30 s. For a durable message: how
   * long to try to store it, over broken connections too. */
  readonly timeoutMs?: number;
  /** Kept in the receiver's mailbox until it is handled: `true`, or how. A request cannot be durable. */
  readonly durable?: boolean | DurableOptions;
  /** Names the message; the same durable message under the same name is stored once. While the earlier one has no outcome the
   * name is taken: conflict/MESSAGE_ID_IN_USE. Default: a new id. */
  readonly messageId?: string;
  /** Takes the message back: the promise rejects with cancelled/CANCELLED, and who handles a request sees its signal abort. A durable
   * message that has left already may be stored and delivered all the same: cancelled/CANCELLED_TOO_LATE. */
  readonly signal?: AbortSignal;
}

/** Whom a message is for: an agent by its id, or any one agent with a capability. */
export type Address = string | { readonly capability: string };

/** Whom a request to many is for. */
export type ManyAddress =
  | { readonly topic: string }
  | { readonly capability: string }
  | { readonly everyone: true };

/** What became of a message that got through. */
export interface Receipt {
  /** Under this name. */
  readonly messageId: string;
  /** Of a durable message: how many the mailbox held with it. */
  readonly position: number;
  /** True when the same durable message had been stored before. */
  readonly duplicate: boolean;
  /** Of a message to many: how many it was taken in for, and for how many there was no room. */
  readonly receivers: number;
  readonly missed: number;
}

/** One of several replies. */
export interface Reply {
  readonly from: string;
  readonly body: unknown;
}

/** How many replies are enough. */
export interface GatherOptions extends Omit<MessageOptions, "durable"> {
  /** `first`, `all`, or a number of replies; default `all`. */
  readonly until?: "first" | "all" | number;
}

/** How a subscription works. */
export interface SubscribeOptions {
  /** Of subscribers with the same pattern and group one gets each message. */
  readonly group?: string;
  /** True: it stays when the agent goes, and durable messages are kept for it; it ends once the agent was away for seven days, or what the
   * deployment says. Default false. */
  readonly durable?: boolean;
}

/** A message for this agent. */
export interface InboundMessage<T = unknown> {
  /** Who sent it, as its token says. */
  readonly from: string;
  readonly subject: string;
  /** The topic it was published to; empty for a message with another address. */
  readonly topic: string;
  /** The sender's name for it; empty for an ephemeral one. */
  readonly messageId: string;
  /** Counts from 1 the deliveries of a durable message. */
  readonly attempt: number;
  /** Decoded body. */
  readonly body: T;
  /** True when the sender waits: the handler's result is the reply. */
  readonly expectsReply: boolean;
  /** Epoch milliseconds after which nobody waits any more. */
  readonly deadlineAtMs: number;
  /** W3C `traceparent` of the sender's span; may be empty. */
  readonly traceparent: string;
}

/** What an agent can say. What is said through a handler's or a task's own one carries what caused it: the router counts the
 * hops, refuses loops, keeps the deadline, and refuses what is said under a lease that is over. */
export interface Messenger {
  /** Sends a message; resolves when the receiver took it in, or, if durable, when it is committed.
   *
   * Errors: not_found/AGENT_NOT_CONNECTED; exhausted/AGENT_OVERLOADED with a time to wait; unavailable/AGENT_SILENT while
   * the receiver does not acknowledge; deadline/MESSAGE_EXPIRED; precondition/MESSAGE_LOOP; conflict/LEASE_LOST;
   * invalid/MESSAGE_REFUSED; unavailable/CONNECTION_LOST for an ephemeral one whose fate is unknown. */
  send(to: Address, subject: string, body: unknown, options?: MessageOptions): Promise<Receipt>;
  /** Sends a message and waits for the reply.
   *
   * Errors: as send; precondition/HANDLER_FAILED when the receiver's handler failed, with `failure_reason`, the word of its TaskError, in the
   * metadata; not_found/NO_HANDLER when it has none; precondition/REPLY_IN_PARTS when it answers in parts, which requestStream takes. */
  request(to: Address, subject: string, body: unknown, options?: MessageOptions): Promise<unknown>;
  /** Asks many and resolves with their replies once there are enough. One that answers in parts counts as one that cannot answer.
   *
   * Errors: as send; deadline/MESSAGE_EXPIRED when there are not. */
  requestMany(
    to: ManyAddress,
    subject: string,
    body: unknown,
    options?: GatherOptions,
  ): Promise<readonly Reply[]>;
  /** Asks for a reply in parts, and yields them as they come; leaving the loop takes the request back. A reply in one piece is one part.
   *
   * Errors: as request; unavailable/REPLY_CUT when a part was lost. What had come before is yielded first. */
  requestStream(
    to: Address,
    subject: string,
    body: unknown,
    options?: MessageOptions,
  ): AsyncIterable<unknown>;
  /** Publishes to a topic; resolves with how many subscribers it was taken in for, once it is on its way to those that keep up, or, if durable,
   * when it is committed. Nobody is an answer, not an error. */
  publish<T>(topic: string | Topic<T>, body: T, options?: MessageOptions): Promise<Receipt>;
  /** Subscribes to a topic, or to a pattern: `*` fits a word, a last `>` all that follow. Resolves when it holds, with what ends it.
   *
   * Errors: exhausted/SUBSCRIPTION_LIMIT. */
  subscribe<T>(
    topic: string | Topic<T>,
    handler: MessageHandler<T>,
    options?: SubscribeOptions,
  ): Promise<() => Promise<void>>;
}

/** What a handler may do beside handling. */
export interface MessageContext extends Messenger {
  /** Aborts when the sender takes its request back, or its time is over. */
  readonly signal: AbortSignal;
}

/** Takes in a message. Its result, or what its promise resolves to, answers a request; an async iterable answers it in parts; when it
 * throws, whoever asked hears so at once, with the word and the text of a TaskError and nothing of any other error. A reply for which
 * there is no room is sent again within the request's time. A durable message is done when the handler is; when it throws, the message
 * comes again, unless it throws a TaskError that is not retryable. */
export type MessageHandler<T = unknown> = (
  message: InboundMessage<T>,
  ctx: MessageContext,
) => unknown;
