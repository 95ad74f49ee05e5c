/** One message on its way, and what becomes of it. */
import { ITEM_OVERHEAD_BYTES } from "./limits.ts";
import type { MailDelivery, MailTerms } from "./mail.ts";

/** What became of a message. Every message gets exactly one. */
export type Outcome =
  | "delivered"
  | "overloaded"
  | "expired"
  | "no_such_agent"
  | "refused"
  | "queued";

/** All outcomes, for tables and metrics. */
export const OUTCOMES: readonly Outcome[] = [
  "delivered",
  "overloaded",
  "expired",
  "no_such_agent",
  "refused",
  "queued",
];

/** Why a message was refused: the stable words of the contract. */
export type RefusedReason =
  | "MESSAGE_ID_PENDING"
  | "MESSAGE_ID_REUSED"
  | "NO_RECEIVER"
  | "SELF"
  | "NOT_AWAITED"
  | "NOT_DURABLE"
  | "NOT_STORABLE";

/** What became of a message, without its name. */
export interface Verdict {
  readonly outcome: Outcome;
  /** For people; empty when it was delivered. */
  readonly text: string;
  /** For `overloaded`. */
  readonly retryAfterMs?: number;
  /** For `refused`. */
  readonly reason?: RefusedReason;
  /** For `queued`: messages in the mailbox. */
  readonly position?: number;
  /** For `queued`: it had been stored before. */
  readonly duplicate?: boolean;
}

/** The answer to one Send. */
export interface SendResult extends Verdict {
  readonly messageId: string;
}

/** What a sender asks for. */
export interface Letter {
  readonly messageId: string;
  readonly toAgentId: string;
  /** The encoded Payload. */
  readonly payload: Uint8Array;
  /** UTF-8, checked. */
  readonly subject: Uint8Array;
  readonly expectsReply: boolean;
  /** The delivery that this answers; empty when it is no reply. */
  readonly inReplyTo: string;
  readonly timeoutMs: number;
  /** UTF-8, checked. */
  readonly traceparent: Uint8Array;
  /** How it is kept; undefined for an ephemeral one. */
  readonly mail?: MailTerms | undefined;
}

/** A message that was sent and has no outcome yet. */
export type Unsettled = Message | Post;

/** What an agent's stream carries. */
export type Deliverable = Message | MailDelivery;

/** Where a message is going. */
export interface Receiver {
  /** Messages that wait for credit, oldest first. */
  readonly inbox: Set<Message>;
  /** Messages on its stream or taken in, by delivery id, until their outcome. */
  readonly delivered: Map<string, Message>;
}

/** Whoever sent a message and learns its outcome. Its identity comes from its token. */
export interface Sender {
  readonly namespace: string;
  readonly principalId: string;
  /** What it sent that has no outcome yet, by its message id. */
  readonly unsettled: Map<string, Unsettled>;
  /** The stream that it sends by: its durable messages follow each other while it is the same. */
  readonly stream: object | undefined;
  /** Takes the outcome of one of its messages. */
  takeResult(result: SendResult): void;
}

/** queued: waits for the receiver's credit. sent: on the receiver's stream. taken: acknowledged, a reply is due.
 * answered: the reply is on its way. over: it has its outcome. */
export type MessagePhase = "queued" | "sent" | "taken" | "answered" | "over";

interface MessageInit {
  readonly deliveryId: string;
  readonly letter: Letter;
  readonly sender: Sender;
  readonly receiver: Receiver;
  readonly nowMs: number;
  readonly expiresAtMs: number;
  /** For a reply: the asker's message id. */
  readonly inReplyTo: string;
  /** For a reply: the request that it answers. */
  readonly request?: Message;
}

/** A message that the router has accepted. */
export class Message {
  readonly kind = "message";
  readonly deliveryId: string;
  readonly messageId: string;
  readonly sender: Sender;
  readonly receiver: Receiver;
  readonly subject: Uint8Array;
  readonly expectsReply: boolean;
  /** The message id, chosen by the receiver, that this answers; empty when it is no reply. */
  readonly inReplyTo: string;
  readonly traceparent: Uint8Array;
  readonly acceptedAtMs: number;
  readonly expiresAtMs: number;
  readonly sizeBytes: number;
  /** Let go once the message is written. */
  payload: Uint8Array | undefined;
  phase: MessagePhase = "queued";
  /** For a reply: the request that it answers. */
  readonly request: Message | undefined;

  constructor(init: MessageInit) {
    const { letter } = init;
    this.deliveryId = init.deliveryId;
    this.messageId = letter.messageId;
    this.sender = init.sender;
    this.receiver = init.receiver;
    this.request = init.request;
    this.subject = letter.subject;
    this.expectsReply = letter.expectsReply;
    this.inReplyTo = init.inReplyTo;
    this.traceparent = letter.traceparent;
    this.acceptedAtMs = init.nowMs;
    this.expiresAtMs = init.expiresAtMs;
    this.payload = letter.payload;
    this.sizeBytes = letter.payload.byteLength + ITEM_OVERHEAD_BYTES;
  }

  /** False once it has its outcome: it is not written any more. */
  get isDue(): boolean {
    return this.phase === "sent";
  }
}

/** A durable message that waits for its commit. */
export class Post {
  readonly kind = "post";
  readonly messageId: string;
  readonly sender: Sender;
  readonly toAgentId: string;
  readonly terms: MailTerms;
  readonly key: string;
  readonly bodyHash: bigint;
  readonly envelope: Uint8Array;
  /** The sender's stream as it was sent. */
  readonly stream: object | undefined;
  readonly expiresAtMs: number;
  readonly sizeBytes: number;
  /** True once it has its outcome. */
  over = false;

  constructor(init: PostInit) {
    const { letter, sender } = init;
    this.messageId = letter.messageId;
    this.sender = sender;
    this.stream = sender.stream;
    this.toAgentId = letter.toAgentId;
    this.terms = init.terms;
    this.key = init.key;
    this.bodyHash = init.bodyHash;
    this.envelope = init.envelope;
    this.expiresAtMs = init.expiresAtMs;
    this.sizeBytes = init.envelope.byteLength + ITEM_OVERHEAD_BYTES;
  }
}

interface PostInit {
  readonly sender: Sender;
  readonly letter: Letter;
  readonly terms: MailTerms;
  readonly key: string;
  readonly bodyHash: bigint;
  readonly envelope: Uint8Array;
  readonly expiresAtMs: number;
}
