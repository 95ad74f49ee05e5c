/** What has happened to mail and is not written yet. Bounded by the mail that was in memory when it happened. */
import type { MailDeath, MailFailure, MailRef } from "./mail-ports.ts";

/** A part of a transaction. */
export interface MailWrites {
  readonly done: readonly MailRef[];
  readonly failures: readonly MailFailure[];
  readonly deaths: readonly MailDeath[];
}

/** Collects writes until somebody takes them. */
export class MailJournal {
  #done: MailRef[] = [];
  #failures = new Map<bigint, MailFailure>();
  #deaths: MailDeath[] = [];

  get size(): number {
    return this.#done.length + this.#failures.size + this.#deaths.length;
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

  /** Takes everything. */
  take(): MailWrites {
    const taken = {
      done: this.#done,
      failures: [...this.#failures.values()],
      deaths: this.#deaths,
    };
    this.#done = [];
    this.#failures = new Map();
    this.#deaths = [];
    return taken;
  }

  /** Puts back what could not be written. What happened meanwhile counts. */
  putBack({ done, failures, deaths }: MailWrites): void {
    const over = new Set([...this.#done, ...this.#deaths].map(({ seq }) => seq));
    this.#done = [...done, ...this.#done];
    this.#deaths = [...deaths, ...this.#deaths];
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
