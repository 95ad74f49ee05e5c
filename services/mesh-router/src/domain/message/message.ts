/** One message on its way. */

import { detachFromFrame, type PassingMap } from "@nexus/shared";
import { ITEM_OVERHEAD_BYTES } from "../limits.ts";
import type { MailDelivery, MailTerms } from "../mail/mail.ts";
import type { Breaker } from "./breaker.ts";
import { Expiring } from "./deadline-wheel.ts";
import type { Inbox } from "./inbox.ts";
import type { Chain, Letter, Onwards, SendResult } from "./letter.ts";
import type { Share } from "./room.ts";
import type { SenderTally } from "./sender-tally.ts";

const NOTHING = new Uint8Array();

/** A message that was sent and has no outcome yet. */
export type Unsettled = Message | Post | Withdrawable;

/** What waits for others, and ends at its sender's word: a request to many, a message at the gate, or one to many whose copies wait. */
export interface Withdrawable {
  readonly kind: "gathering" | "held" | "publishing";
  /** Its sender does not wait any more. */
  cancel(): void;
}

/** Who waits until a copy of a message to many is not in its receiver's queue any more. */
export interface CopyWatch {
  passed(): void;
}

/** What an agent's stream carries. */
export type Deliverable = Message | MailDelivery;

/** Where a message is going. */
export interface Receiver {
  /** True when its queue is at another replica, which says what becomes of its messages. */
  readonly isRemote: boolean;
  /** True once it takes nothing any more. */
  readonly over: boolean;
  /** Messages that wait for credit, oldest first. */
  readonly inbox: Inbox<Message>;
  /** Messages on its stream or taken in, by delivery id, until their outcome. */
  readonly delivered: PassingMap<string, Message>;
  /** Undefined where another replica judges it. */
  readonly breaker: Breaker | undefined;
  /** Nobody waits for the reply to a delivery any more. */
  cancelDelivery(deliveryId: string): void;
}

/** Whoever sent a message and learns its outcome. Its identity comes from its token. */
export interface Sender {
  readonly namespace: string;
  readonly principalId: string;
  /** True when it sends copies of one message. */
  readonly many?: boolean;
  /** True when it is at another replica, which counts what becomes of its messages. */
  readonly isRemote?: boolean;
  /** What it sent that has no outcome yet, by its message id. */
  readonly unsettled: PassingMap<string, Unsettled>;
  /** Counts its messages where that list is not the whole of what the sender has under way. */
  readonly tally?: SenderTally | undefined;
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
  readonly request?: Message | undefined;
  readonly part?: number;
}

/** A message that the router has accepted. */
export class Message extends Expiring {
  readonly kind = "message";
  readonly deliveryId: string;
  readonly messageId: string;
  readonly sender: Sender;
  /** Another one once it turns out that the agent is elsewhere. */
  receiver: Receiver;
  /** Let go with the payload. */
  subject: Uint8Array;
  readonly expectsReply: boolean;
  /** The message id, chosen by the receiver, that this answers; empty when it is no reply. */
  readonly inReplyTo: string;
  traceparent: Uint8Array;
  readonly acceptedAtMs: number;
  readonly expiresAtMs: number;
  readonly sizeBytes: number;
  /** Let go once the message is written. */
  payload: Uint8Array | undefined;
  /** What counts it until its outcome. */
  share: Share | undefined;
  phase: MessagePhase = "queued";
  /** For a reply: the request that it answers. */
  readonly request: Message | undefined;
  readonly topic: string;
  readonly chain: Chain | undefined;
  /** Who takes it on when its receiver cannot. */
  readonly onwards: Onwards | undefined;
  /** For a part of a reply: counts from 1. */
  readonly part: number;
  readonly more: boolean;
  /** For a request: parts of the reply so far. */
  parts = 0;
  /** True once it was sent to a replica where its receiver was not. */
  isAstray = false;
  /** For a copy that waits for its receiver. */
  watch: CopyWatch | undefined = undefined;

  constructor(init: MessageInit) {
    super();
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
    this.topic = letter.target?.kind === "topic" ? letter.target.name : "";
    this.chain = letter.chain;
    this.onwards = letter.onwards;
    this.part = init.part ?? 0;
    this.more = letter.more === true;
    this.payload = letter.payload;
    this.sizeBytes = letter.payload.byteLength + ITEM_OVERHEAD_BYTES;
  }

  /** False once it has its outcome: it is not written any more. */
  get isDue(): boolean {
    return this.phase === "sent";
  }

  /** It is not written any more: nothing of its content is kept. */
  letGo(): void {
    this.payload = undefined;
    this.subject = NOTHING;
    this.traceparent = NOTHING;
  }

  /** It is kept for a while, and its frame is not: what it has of that is copied out. */
  detach(): void {
    if (this.payload !== undefined) this.payload = detachFromFrame(this.payload);
    this.subject = detachFromFrame(this.subject);
    this.traceparent = detachFromFrame(this.traceparent);
  }

  /** Its name among its sender's unsettled messages: those of a gathering have one message id. */
  get unsettledKey(): string {
    return this.sender.many === true ? this.deliveryId : this.messageId;
  }
}

/** A durable message that waits for its commit. */
export class Post extends Expiring {
  readonly kind = "post";
  readonly messageId: string;
  readonly sender: Sender;
  readonly toAgentIds: readonly string[];
  /** True for a message to many: its outcome counts them. */
  readonly many: boolean;
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
    super();
    const { letter, sender } = init;
    this.messageId = letter.messageId;
    this.sender = sender;
    this.stream = sender.stream;
    this.toAgentIds = init.toAgentIds;
    this.many = letter.target !== undefined && letter.target.kind !== "capability";
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
  readonly toAgentIds: readonly string[];
  readonly terms: MailTerms;
  readonly key: string;
  readonly bodyHash: bigint;
  readonly envelope: Uint8Array;
  readonly expiresAtMs: number;
}
