/** Tells registry and insight how attempts ended, after the commit, at least once, each at its own pace. */
import { createFifoCache, NexusError } from "@nexus/shared";
import type { Outcome, OutcomeReceiver } from "../domain/outcome.ts";

/** Most outcomes in one call, as the contracts say. */
export const OUTCOMES_PER_CALL_MAX = 512;
/** Batches sent in one step, so that a step ends. */
const BATCHES_PER_STEP_MAX = 64;
/** Batches kept for the slower receiver. */
const BATCHES_KEPT_MAX = 8;
/** Receivers count each outcome once for 24 h, and insight takes none older; what has waited longer is dropped. */
const OUTCOME_AGE_MAX_MS = 23 * 3_600_000;

/** The outbox as the sender needs it. */
export interface Outbox {
  read(shards: readonly number[], after: bigint, limit: number): Promise<readonly Outcome[]>;
  delete(shards: readonly number[], upTo: bigint): Promise<number>;
  span(
    shards: readonly number[],
  ): Promise<{ readonly first: bigint; readonly last: bigint } | undefined>;
}

/** The shards whose outcomes are this replica's to tell. */
export interface OutboxShards {
  /** Grows whenever the shards change: what waits in new ones may stand before everything told so far. */
  readonly generation: number;
  /** Empty while this replica may not write. */
  readonly shards: readonly number[];
}

/** What the sender needs. */
export interface OutboxSenderOptions {
  readonly outbox: Outbox;
  readonly receivers: readonly OutcomeReceiver[];
  readonly rowsMax: number;
  /** Only the owner of a shard tells its outcomes. */
  readonly owned: () => OutboxShards;
  /** Grows when outcomes were committed: while it stands still, a receiver that has heard all is not asked again. */
  readonly version: () => number;
  readonly nowMs: () => number;
  readonly events: {
    outcomesSent(receiver: string, count: number): void;
    outcomesDropped(receiver: string, count: number, why: string): void;
    outboxDepth(rows: number): void;
  };
}

/** Owns how far each receiver has been told. The positions are in memory: after a restart, and when shards were taken, all is told
 * again. */
export class OutboxSender {
  readonly #options: OutboxSenderOptions;
  readonly #told = new Map<string, bigint>();
  /** The version up to which each receiver has heard all. */
  readonly #heard = new Map<string, number>();
  /** Batches by the position they follow: what one receiver has read the other need not read again. */
  readonly #batches = createFifoCache<bigint, readonly Outcome[]>({ max: BATCHES_KEPT_MAX });
  /** The shards that the positions are of. */
  #owned: OutboxShards = { generation: -1, shards: [] };

  constructor(options: OutboxSenderOptions) {
    this.#options = options;
    for (const receiver of options.receivers) this.#told.set(receiver.name, 0n);
  }

  /** Tells one receiver what it has not heard. Each receiver has a loop of its own, so a slow one holds up nobody. */
  async tell(receiver: OutcomeReceiver, signal: AbortSignal): Promise<void> {
    const version = this.#options.version();
    if (!this.#follow() || this.#heard.get(receiver.name) === version) return;
    const { generation } = this.#owned;
    for (let i = 0; i < BATCHES_PER_STEP_MAX && !signal.aborted; i += 1) {
      const after = this.#told.get(receiver.name) ?? 0n;
      const outcomes = await this.#read(after);
      if (this.#owned.generation !== generation) return;
      const last = outcomes.at(-1);
      if (last === undefined) {
        this.#heard.set(receiver.name, version);
        return;
      }
      await this.#send(receiver, this.#fresh(receiver, outcomes), signal);
      if (this.#owned.generation !== generation) return;
      this.#told.set(receiver.name, last.position);
    }
  }

  /** Deletes what all have acknowledged, and, at the limit, the oldest of what they have not. */
  async sweep(): Promise<void> {
    const { outbox, rowsMax, events } = this.#options;
    if (!this.#follow()) return;
    const { shards } = this.#owned;
    const told = [...this.#told.values()];
    const span = await outbox.span(shards);
    if (span === undefined) {
      events.outboxDepth(0);
      return;
    }
    let upTo = told.reduce((a, b) => (a < b ? a : b));
    const rows = span.last - span.first + 1n;
    const excess = span.first + (rows - BigInt(rowsMax)) - 1n;
    if (excess > upTo) {
      events.outcomesDropped(
        "all",
        Number(excess - (upTo > span.first ? upTo : span.first)),
        "outbox full",
      );
      upTo = excess;
    }
    if (upTo >= span.first) await outbox.delete(shards, upTo);
    const left = span.last - (upTo > span.first ? upTo : span.first);
    events.outboxDepth(Number(left < 0n ? 0n : left));
  }

  /** Begins anew when shards were taken; false when there is nothing to tell for. */
  #follow(): boolean {
    const owned = this.#options.owned();
    if (owned.generation !== this.#owned.generation) {
      this.#owned = owned;
      this.#heard.clear();
      this.#batches.clear();
      for (const name of this.#told.keys()) this.#told.set(name, 0n);
    }
    return owned.shards.length > 0;
  }

  async #read(after: bigint): Promise<readonly Outcome[]> {
    const known = this.#batches.get(after);
    if (known !== undefined) return known;
    const outcomes = await this.#options.outbox.read(
      this.#owned.shards,
      after,
      OUTCOMES_PER_CALL_MAX,
    );
    if (outcomes.length > 0) this.#batches.set(after, outcomes);
    return outcomes;
  }

  #fresh(receiver: OutcomeReceiver, outcomes: readonly Outcome[]): readonly Outcome[] {
    const oldestMs = this.#options.nowMs() - OUTCOME_AGE_MAX_MS;
    const fresh = outcomes.filter((outcome) => outcome.endedAt.getTime() >= oldestMs);
    const old = outcomes.length - fresh.length;
    if (old > 0) this.#options.events.outcomesDropped(receiver.name, old, "too old");
    return fresh;
  }

  /** Sends a batch; one that is refused as invalid is split until the bad outcome is alone, which is dropped. */
  async #send(
    receiver: OutcomeReceiver,
    outcomes: readonly Outcome[],
    signal: AbortSignal,
  ): Promise<void> {
    if (outcomes.length === 0) return;
    try {
      await receiver.send(outcomes, signal);
      this.#options.events.outcomesSent(receiver.name, outcomes.length);
    } catch (error) {
      if (!NexusError.is(error, "invalid")) throw error;
      if (outcomes.length === 1) {
        this.#options.events.outcomesDropped(receiver.name, 1, error.reason);
        return;
      }
      const middle = Math.ceil(outcomes.length / 2);
      await this.#send(receiver, outcomes.slice(0, middle), signal);
      await this.#send(receiver, outcomes.slice(middle), signal);
    }
  }
}
