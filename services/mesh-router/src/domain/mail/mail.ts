/** One durable message in its receiver's mailbox, as memory holds it while it is near its delivery. */
import { ITEM_OVERHEAD_BYTES } from "../limits.ts";
import { Expiring } from "../message/deadline-wheel.ts";

/** What a receiver says about a delivery. */
export type AckKind = "done" | "extend" | "retry" | "reject";

/** A receiver's word about a delivery. */
export interface Acknowledgement {
  readonly deliveryId: string;
  readonly kind: AckKind;
  /** For people; may be empty. */
  readonly text: string;
  /** Of a request that is not answered: the receiver's word for why. */
  readonly reason?: string | undefined;
}

/** How a durable message is kept. */
export interface MailTerms {
  readonly ttlMs: number;
  readonly ackWaitMs: number;
}

/** Why a message was given up. */
export type DeathReason = "EXPIRED" | "ATTEMPTS" | "REJECTED";

/** A mailbox row, as it is read or as it was just written. */
export interface StoredMail {
  readonly mailboxId: bigint;
  readonly seq: bigint;
  readonly sender: string;
  /** The fields of Delivery that never change, encoded. */
  readonly envelope: Uint8Array;
  readonly expiresAtMs: number;
  readonly ackWaitMs: number;
  /** Deliveries that failed. */
  readonly failures: number;
  /** Not to be sent before; 0: at once. */
  readonly dueAtMs: number;
}

/** ready: may be sent. held: its lane waits. sent: on the receiver's stream. over: acknowledged or given up. */
export type MailPhase = "ready" | "held" | "sent" | "over";

/** A row of mail in memory. */
export class Mail {
  readonly kind = "mail";
  readonly mailboxId: bigint;
  readonly seq: bigint;
  readonly sender: string;
  readonly envelope: Uint8Array;
  readonly expiresAtMs: number;
  readonly ackWaitMs: number;
  readonly sizeBytes: number;
  failures: number;
  phase: MailPhase = "held";
  /** Changes whenever it leaves the queue of ready mail, so that an entry there that was left behind is known. */
  ticket = 0;
  /** The delivery under way. */
  delivery: MailDelivery | undefined;

  constructor(row: StoredMail) {
    this.mailboxId = row.mailboxId;
    this.seq = row.seq;
    this.sender = row.sender;
    this.envelope = row.envelope;
    this.expiresAtMs = row.expiresAtMs;
    this.ackWaitMs = row.ackWaitMs;
    this.failures = row.failures;
    this.sizeBytes = row.envelope.byteLength + ITEM_OVERHEAD_BYTES;
  }
}

/** One try to deliver a message. */
export class MailDelivery extends Expiring {
  readonly kind = "mail";
  readonly mail: Mail;
  readonly deliveryId: string;
  readonly generation: number;
  readonly attempt: number;
  readonly sizeBytes: number;
  /** When its receiver's silence is a failure. Changed only while no timer holds it. */
  expiresAtMs: number;

  constructor(init: {
    readonly mail: Mail;
    readonly deliveryId: string;
    readonly generation: number;
    readonly ackDueAtMs: number;
  }) {
    super();
    this.mail = init.mail;
    this.deliveryId = init.deliveryId;
    this.generation = init.generation;
    this.attempt = init.mail.failures + 1;
    this.sizeBytes = init.mail.sizeBytes;
    this.expiresAtMs = init.ackDueAtMs;
  }

  /** False once it is acknowledged, failed or void: it is not written any more. */
  get isDue(): boolean {
    return this.mail.delivery === this;
  }
}
