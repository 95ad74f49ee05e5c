/** The mail store in memory, for tests of what stands on it. */
import type { StoredMail } from "../domain/mail/mail.ts";
import {
  type CommittedMail,
  type InsertResult,
  type LoadedMail,
  type MailBatch,
  type MailInsert,
  type MailStore,
  nameKey,
  type ReceiverName,
} from "../domain/mail/mail-ports.ts";

/** A store whose rows can be looked at, and that can be away. */
export class FakeMailStore implements MailStore {
  readonly rows = new Map<bigint, StoredMail>();
  /** Sequence numbers of messages that were given up, by reason. */
  readonly dead = new Map<bigint, string>();
  /** Mailboxes that others were told of. */
  readonly notified: bigint[] = [];
  /** True while the receivers' sessions are another replica's by the table. */
  isFenced = false;
  /** While true every call fails, as with a database that is away. */
  away = false;
  /** While true a commit happens and its answer is lost. */
  losesAnswers = false;
  readonly #mailboxes = new Map<string, bigint>();
  readonly #ids = new Map<string, bigint>();
  readonly #nowMs: () => number;
  #lastSeq = 0n;

  constructor(nowMs: () => number) {
    this.#nowMs = nowMs;
  }

  async resolve(names: readonly ReceiverName[]): Promise<ReadonlyMap<string, bigint>> {
    this.#assertThere();
    const found = new Map<string, bigint>();
    for (const { namespace, agentId, known } of names) {
      const key = nameKey(namespace, agentId);
      const id = this.#mailboxes.get(key) ?? (known ? BigInt(this.#mailboxes.size + 1) : undefined);
      if (id === undefined) continue;
      this.#mailboxes.set(key, id);
      found.set(key, id);
    }
    return found;
  }

  async count(mailboxIds: readonly bigint[]): Promise<ReadonlyMap<bigint, number>> {
    this.#assertThere();
    const count = (id: bigint): number =>
      [...this.rows.values()].filter(({ mailboxId }) => mailboxId === id).length;
    return new Map(mailboxIds.map((id) => [id, count(id)]));
  }

  async commit(batch: MailBatch): Promise<CommittedMail> {
    this.#assertThere();
    const results = batch.inserts.map((insert) => this.#insert(insert));
    for (const { seq } of batch.done) this.rows.delete(seq);
    for (const { seq, failures, delayMs } of batch.failures) {
      const row = this.rows.get(seq);
      if (row !== undefined && row.failures < failures) {
        this.rows.set(seq, { ...row, failures, dueAtMs: this.#nowMs() + delayMs });
      }
    }
    const kept = new Set<bigint>();
    for (const { seq, mailboxId, reason } of batch.deaths) {
      if (!this.isFenced && this.rows.delete(seq)) this.dead.set(seq, reason);
      else kept.add(mailboxId);
    }
    this.notified.push(...batch.notify, ...batch.left);
    if (this.losesAnswers) throw new Error("the answer was lost");
    return { results, kept };
  }

  async load(
    mailboxIds: readonly bigint[],
    exclude: readonly bigint[],
    { rowsMax, bytesMax }: { readonly rowsMax: number; readonly bytesMax: number },
  ): Promise<LoadedMail> {
    this.#assertThere();
    const left = [...this.rows.values()].filter(({ seq }) => !exclude.includes(seq));
    const cut = new Set<bigint>();
    let bytes = 0;
    const rows = mailboxIds.flatMap((id) =>
      left
        .filter(({ mailboxId }) => mailboxId === id)
        .slice(0, rowsMax)
        .filter(({ envelope }) => {
          const fits = bytes < bytesMax && !cut.has(id);
          if (fits) bytes += envelope.byteLength;
          else cut.add(id);
          return fits;
        }),
    );
    return { rows, cut };
  }

  #insert(insert: MailInsert): InsertResult {
    const hash = this.#ids.get(insert.key);
    if (hash !== undefined) return { kind: hash === insert.bodyHash ? "duplicate" : "conflict" };
    this.#ids.set(insert.key, insert.bodyHash);
    const { mailboxIds, sender, envelope, ackWaitMs, ttlMs } = insert;
    const times = { expiresAtMs: this.#nowMs() + ttlMs, failures: 0, dueAtMs: 0 };
    const seqs = mailboxIds.map((mailboxId) => {
      this.#lastSeq += 1n;
      const seq = this.#lastSeq;
      this.rows.set(seq, { mailboxId, seq, sender, envelope, ackWaitMs, ...times });
      return seq;
    });
    return { kind: "stored", seqs };
  }

  #assertThere(): void {
    if (this.away) throw new Error("the database is away");
  }
}
