import { coalesced } from "./coalesced.ts";
import type { RevocationReader } from "./ports.ts";
import type { RevocationRecord } from "./revocation.ts";

/** One message for a watcher; no records means a sign of life. */
export interface RevocationBatch {
  /** All revocations up to this revision were sent. */
  readonly revision: bigint;
  readonly records: readonly RevocationRecord[];
}

/** Most records in one message. */
export const REVOCATION_BATCH_MAX = 512;

/** All revocations in force, in memory and in the order of their revisions, and whoever follows them.
 *
 * It reads on from its last revision, which misses nothing because revisions become visible in order. Every follower
 * has a place of its own in the shared list, so a slow one costs no memory and loses nothing.
 * It has no timer: a loop calls refresh and beat, and a mutation calls refresh after its commit. */
export class RevocationLog {
  readonly #reader: RevocationReader;
  readonly #onRecords: (records: readonly RevocationRecord[]) => void;
  readonly #waiters = new Set<() => void>();
  #records: RevocationRecord[] = [];
  #head = 0n;

  /** `onRecords` hears of each new batch, before any follower does. */
  constructor(
    reader: RevocationReader,
    onRecords: (records: readonly RevocationRecord[]) => void = () => undefined,
  ) {
    this.#reader = reader;
    this.#onRecords = onRecords;
  }

  /** The newest revision known. */
  get head(): bigint {
    return this.#head;
  }

  /** Revocations held. */
  get size(): number {
    return this.#records.length;
  }

  /** Reads what was committed before this call. */
  readonly refresh: () => Promise<void> = coalesced(() => this.#read());

  /** Wakes every follower, so that each sends a sign of life. */
  beat(): void {
    const waiters = [...this.#waiters];
    this.#waiters.clear();
    for (const wake of waiters) wake();
  }

  /** Forgets revocations that have ended. */
  prune(nowMs: number): void {
    this.#records = this.#records.filter((record) => record.expireTimeMs >= nowMs);
  }

  /** Yields all revocations in force after a revision, then new ones, until the signal aborts. The first batch comes
   * at once, even if empty; a batch shorter than REVOCATION_BATCH_MAX says that nothing more waits. */
  async *follow(resume: bigint, signal: AbortSignal): AsyncGenerator<RevocationBatch, void> {
    // A revision from before a restored backup is beyond the head: everything is sent again.
    let cursor = resume > this.#head ? 0n : resume;
    while (!signal.aborted) {
      const records = this.#after(cursor);
      const full = records.length === REVOCATION_BATCH_MAX;
      cursor = full ? (records.at(-1) as RevocationRecord).revision : this.#head;
      // Made before the yield, so that what happens while the batch is being sent wakes the next round.
      const change = full ? undefined : this.#change(signal);
      yield { revision: cursor, records };
      await change;
    }
  }

  async #read(): Promise<void> {
    for (;;) {
      const records = await this.#reader.after(this.#head, REVOCATION_BATCH_MAX);
      const last = records.at(-1);
      if (last === undefined) return;
      this.#records.push(...records);
      this.#head = last.revision;
      this.#onRecords(records);
      this.beat();
      if (records.length < REVOCATION_BATCH_MAX) return;
    }
  }

  #after(revision: bigint): readonly RevocationRecord[] {
    let low = 0;
    let high = this.#records.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#records[middle] as RevocationRecord).revision <= revision) low = middle + 1;
      else high = middle;
    }
    return this.#records.slice(low, low + REVOCATION_BATCH_MAX);
  }

  #change(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const wake = () => {
        signal.removeEventListener("abort", wake);
        this.#waiters.delete(wake);
        resolve();
      };
      this.#waiters.add(wake);
      signal.addEventListener("abort", wake, { once: true });
    });
  }
}
