/** What durable messages need from outside. */

import type { Letter } from "../message/letter.ts";
import type { DeathReason, StoredMail } from "./mail.ts";

/** A receiver by name. */
export interface ReceiverName {
  readonly namespace: string;
  readonly agentId: string;
  /** True when memory knows that there is such an agent; else its mailbox is only made if it ever connected. */
  readonly known: boolean;
}

/** A message to be stored. */
export interface MailInsert {
  /** One row for each. */
  readonly mailboxIds: readonly bigint[];
  readonly sender: string;
  /** Hash of namespace, sender and message id: 32 hexadecimal digits. */
  readonly key: string;
  readonly bodyHash: bigint;
  readonly envelope: Uint8Array;
  readonly ttlMs: number;
  readonly ackWaitMs: number;
}

/** Names a row of mail. */
export interface MailRef {
  readonly mailboxId: bigint;
  readonly seq: bigint;
}

/** A word about mail of whoever had it in hand: it counts while that is true. */
interface ReaderWord extends MailRef {
  /** Of the receiver's session. */
  readonly epoch: bigint;
}

/** A delivery that failed. It counts for the replica that has the receiver's session, and for an epoch that is over: what that held was
 * lost with it. */
export interface MailFailure extends ReaderWord {
  readonly failures: number;
  readonly delayMs: number;
}

/** A message that is given up, by the replica that has the receiver's session. Of any other one only the count stands. */
export interface MailDeath extends ReaderWord {
  readonly reason: DeathReason;
  /** For people. */
  readonly text: string;
  readonly failures: number;
}

/** Everything that one transaction writes. */
export interface MailBatch {
  readonly inserts: readonly MailInsert[];
  readonly done: readonly MailRef[];
  readonly failures: readonly MailFailure[];
  readonly deaths: readonly MailDeath[];
  /** Mailboxes that other replicas are told of, of those that `inserts` name. */
  readonly notify: ReadonlySet<bigint>;
  /** Mailboxes that they are told of whatever is written. */
  readonly left: ReadonlySet<bigint>;
}

/** What became of an insert. stored: under these numbers, one for each mailbox. duplicate: it had been stored before. conflict: its id had been used for
 * another body. unstorable: the database refuses it as it is. */
export type InsertResult =
  | { readonly kind: "stored"; readonly seqs: readonly bigint[] }
  | { readonly kind: "duplicate" | "conflict" | "unstorable" };

/** What a commit did. */
export interface CommittedMail {
  /** Of the inserts, in order. */
  readonly results: readonly InsertResult[];
  /** Mailboxes with a message that was to be given up and is still there, as the receiver's session is not this replica's by the table, or
   * that somebody else took. */
  readonly kept: ReadonlySet<bigint>;
}

/** What was read. */
export interface LoadedMail {
  readonly rows: readonly StoredMail[];
  /** Mailboxes with rows that found no room. */
  readonly cut: ReadonlySet<bigint>;
}

/** Where mailboxes live. Every call is for many. Errors of all: unavailable/DATABASE_UNAVAILABLE and its like. */
export interface MailStore {
  /** Finds the mailboxes of receivers, and makes those of known ones; the others are absent. Keys as nameKey() says. */
  resolve(names: readonly ReceiverName[]): Promise<ReadonlyMap<string, bigint>>;
  /** Counts the messages of mailboxes; those without are absent. */
  count(mailboxIds: readonly bigint[]): Promise<ReadonlyMap<bigint, number>>;
  /** Writes everything at once; where the database refuses something, words first and then each insert by itself. Whoever gets an error
   * does not know what was written, and repeats. */
  commit(batch: MailBatch): Promise<CommittedMail>;
  /** Reads the oldest rows of mailboxes, in order, without those that are excluded: at most so many of each, and so many bytes of all. */
  load(
    mailboxIds: readonly bigint[],
    exclude: readonly bigint[],
    limits: { readonly rowsMax: number; readonly bytesMax: number },
  ): Promise<LoadedMail>;
}

/** Writes the fields of a Delivery that never change. */
export type EncodeEnvelope = (letter: Letter, sender: string, nowMs: number) => Uint8Array;

/** Hears about durable messages. */
export interface MailEvents {
  mailStored(count: number): void;
  mailDuplicate(): void;
  mailDelivered(again: boolean): void;
  mailAcknowledged(): void;
  mailFailed(): void;
  mailDied(reason: DeathReason): void;
}

/** Joins a name. Neither part can hold a slash. */
export function nameKey(namespace: string, agentId: string): string {
  return `${namespace}/${agentId}`;
}
