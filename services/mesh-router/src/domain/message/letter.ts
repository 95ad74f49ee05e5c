/** What senders ask for, and what they learn. */
import type { MailTerms } from "../mail/mail.ts";

/** What became of a message. Every message gets exactly one. */
export type Outcome =
  | "delivered"
  | "overloaded"
  | "expired"
  | "no_such_agent"
  | "refused"
  | "queued"
  | "breaker_open"
  | "loop"
  | "hop_limit"
  | "cancelled";

/** All outcomes, for tables and metrics. */
export const OUTCOMES: readonly Outcome[] = [
  "delivered",
  "overloaded",
  "expired",
  "no_such_agent",
  "refused",
  "queued",
  "breaker_open",
  "loop",
  "hop_limit",
  "cancelled",
];

/** What became of a message, without its name. */
export interface Verdict {
  readonly outcome: Outcome;
  /** For people; empty when it was delivered. */
  readonly text: string;
  /** For `overloaded` and `breaker_open`. */
  readonly retryAfterMs?: number;
  /** A stable word of the contract. */
  readonly reason?: string;
  /** The receiver's own word for why its handler failed. */
  readonly failureReason?: string;
  /** For `queued`: messages in the mailbox. */
  readonly position?: number;
  /** For `queued`: it had been stored before. */
  readonly duplicate?: boolean;
  /** For a message to many: whom it was taken in for, for whom there was no room, and who replied. */
  readonly receivers?: number;
  readonly missed?: number;
  readonly replies?: number;
}

/** An address that stands for many. */
export interface Target {
  readonly kind: "capability" | "topic" | "all";
  /** Of the capability, or the topic. */
  readonly name: string;
}

/** Names a lease of a task. */
export interface LeaseRef {
  readonly taskId: string;
  readonly fence: bigint;
}

/** When a request to many has enough replies. */
export interface GatherTerms {
  readonly mode: "first" | "all" | "quorum";
  readonly quorum: number;
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
  /** Undefined for a message to one agent, and for a reply. */
  readonly target?: Target | undefined;
  /** True when it had several targets. */
  readonly manyAddresses?: boolean;
  /** What caused it, as its sender presents it; once the router has taken it on, as its receiver gets it. */
  readonly chain?: Chain | undefined;
  readonly lease?: LeaseRef | undefined;
  readonly gather?: GatherTerms | undefined;
  /** Of a reply: more parts follow. */
  readonly more?: boolean;
  /** Of a part that another replica took in: which it is there. */
  readonly part?: number;
  /** Of a message to any one of several: who takes it on when its receiver cannot. */
  readonly onwards?: Onwards | undefined;
}

/** Knows who else may get a message. */
export interface Onwards {
  /** Takes on a message of the engine that has this verdict from its receiver; false: the verdict is its outcome. */
  take(message: { readonly messageId: string }, verdict: Verdict): boolean;
}

/** What caused a message, as its sender presents it, or as its receiver gets it. */
export interface Chain {
  readonly hops: number;
  readonly ancestors: readonly string[];
  /** When whoever waits at the beginning gives up; undefined when nobody waits. */
  readonly deadlineAtMs: number | undefined;
}
