/** What a replica knows of mailboxes: their numbers, how full they are, and which agent of its own reads them. */
import { MAILBOXES_KNOWN_MAX } from "../limits.ts";
import type { Session } from "../session/session.ts";
import { nameKey } from "./mail-ports.ts";
import type { Mailbox } from "./mailbox.ts";

/** A mailbox as this replica knows it. */
export interface MailboxRecord {
  readonly mailboxId: bigint;
  readonly key: string;
  /** Messages that wait in the table, as far as this replica knows. */
  depth: number;
  /** When that was last counted. */
  countedAtMs: number;
  /** Set while a session of this replica reads it. */
  reader: { readonly session: Session; readonly mailbox: Mailbox } | undefined;
}

/** Keeps the records, by name and by number. Bounded: those that nobody here reads are forgotten, the oldest first. */
export class MailBook {
  readonly #byKey = new Map<string, MailboxRecord>();
  readonly #byId = new Map<bigint, MailboxRecord>();

  find(namespace: string, agentId: string): MailboxRecord | undefined {
    return this.#byKey.get(nameKey(namespace, agentId));
  }

  findById(mailboxId: bigint): MailboxRecord | undefined {
    return this.#byId.get(mailboxId);
  }

  /** Adds what the store found out. */
  add(key: string, mailboxId: bigint): MailboxRecord {
    const known = this.#byKey.get(key);
    if (known !== undefined) return known;
    if (this.#byKey.size >= MAILBOXES_KNOWN_MAX) this.#forgetSome();
    const countedAtMs = Number.NEGATIVE_INFINITY;
    const record: MailboxRecord = { mailboxId, key, depth: 0, countedAtMs, reader: undefined };
    this.#byKey.set(key, record);
    this.#byId.set(mailboxId, record);
    return record;
  }

  /** Every mailbox that is read here. */
  *readers(): Iterable<NonNullable<MailboxRecord["reader"]>> {
    for (const { reader } of this.#byKey.values()) if (reader !== undefined) yield reader;
  }

  /** Messages in the longest of them, as far as this replica knows. */
  longest(): number {
    let longest = 0;
    for (const { reader, depth } of this.#byKey.values()) {
      if (reader !== undefined) longest = Math.max(longest, depth);
    }
    return longest;
  }

  #forgetSome(): void {
    let left = Math.ceil(MAILBOXES_KNOWN_MAX / 10);
    for (const record of this.#byKey.values()) {
      if (left === 0) return;
      if (record.reader !== undefined) continue;
      this.#byKey.delete(record.key);
      this.#byId.delete(record.mailboxId);
      left -= 1;
    }
  }
}
