/** What has happened to mail and is not written yet. Bounded by the mail that was in memory when it happened. */
import type { MailDeath, MailFailure, MailRef } from "./mail-ports.ts";

/** A part of a transaction. */
export interface MailWrites {
  readonly done: readonly MailRef[];
  readonly failures: readonly MailFailure[];
  readonly deaths: readonly MailDeath[];
  /** Mailboxes whose session is over here: whoever reads them now may have read before the last of what was stored for it. */
  readonly left: ReadonlySet<bigint>;
}

/** Collects writes until somebody takes them. */
export class MailJournal {
  #done: MailRef[] = [];
  #failures = new Map<bigint, MailFailure>();
  #deaths: MailDeath[] = [];
  #left = new Set<bigint>();

  get size(): number {
    return this.#done.length + this.#failures.size + this.#deaths.length + this.#left.size;
  }

  done(ref: MailRef): void {
    this.#failures.delete(ref.seq);
    this.#done.push(ref);
  }

  /** The latest failure of a message counts. */
  failed(failure: MailFailure): void {
    this.#failures.set(failure.seq, failure);
  }

  died(death: MailDeath): void {
    this.#failures.delete(death.seq);
    this.#deaths.push(death);
  }

  /** The session that read a mailbox is over here. */
  left(mailboxId: bigint): void {
    this.#left.add(mailboxId);
  }

  /** Takes everything. */
  take(): MailWrites {
    const taken = {
      done: this.#done,
      failures: [...this.#failures.values()],
      deaths: this.#deaths,
      left: this.#left,
    };
    this.#done = [];
    this.#failures = new Map();
    this.#deaths = [];
    this.#left = new Set();
    return taken;
  }

  /** Puts back what could not be written. What happened meanwhile counts. */
  putBack({ done, failures, deaths, left }: MailWrites): void {
    const over = new Set([...this.#done, ...this.#deaths].map(({ seq }) => seq));
    this.#done = [...done, ...this.#done];
    this.#deaths = [...deaths, ...this.#deaths];
    for (const mailboxId of left) this.#left.add(mailboxId);
    for (const failure of failures) {
      if (over.has(failure.seq) || this.#failures.has(failure.seq)) continue;
      this.#failures.set(failure.seq, failure);
    }
  }

  /** Numbers of rows that are over and still in the table. */
  overSeqs(): bigint[] {
    return [...this.#done, ...this.#deaths].map(({ seq }) => seq);
  }
}
