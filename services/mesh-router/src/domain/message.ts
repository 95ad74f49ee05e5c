/** One message on its way, and what becomes of it. */
import { ITEM_OVERHEAD_BYTES } from "./limits.ts";

/** What became of a message. Every message gets exactly one. */
export type Outcome = "delivered" | "overloaded" | "expired" | "no_such_agent" | "refused";

/** All outcomes, for tables and metrics. */
export const OUTCOMES: readonly Outcome[] = [
  "delivered",
  "overloaded",
  "expired",
  "no_such_agent",
  "refused",
];

/** The answer to one Send. */
export interface SendResult {
  readonly messageId: string;
  readonly outcome: Outcome;
  /** For people; empty when it was delivered. */
  readonly text: string;
  /** For `overloaded`. */
  readonly retryAfterMs?: number;
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
}

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
  readonly unsettled: Map<string, Message>;
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
}
