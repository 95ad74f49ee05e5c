/** One stream of outcomes on its way to its receivers. */
import { createFifoCache, KiB, NexusError } from "@nexus/shared";
import type { OutcomeBatch, OutcomeGroup, OutcomeReceiver } from "../domain/outcome.ts";

/** Most bytes in one call, but for a group that is larger by itself: some 25 000 outcomes of large jobs. A call costs its receiver 5 ms
 * beside what it brings. */
export const BYTES_PER_CALL_MAX = 256 * KiB;
/** Most groups in one call, as the contracts say. */
export const GROUPS_PER_CALL_MAX = 256;
/** Batches sent in one step, so that a step ends. */
const BATCHES_PER_STEP_MAX = 64;
/** Batches kept for the slower receiver. */
const BATCHES_KEPT_MAX = 8;
/** Insight takes no outcome older than 24 h, and receivers forget a stream after 48 h of silence; what has waited longer than this
 * is dropped. */
const OUTCOME_AGE_MAX_MS = 23 * 3_600_000;

/** The outbox as a stream needs it. */
export interface Outbox {
  read(
    stream: string,
    after: number,
    page: { readonly groupsMax: number; readonly bytesMax: number },
  ): Promise<OutcomeBatch>;
  delete(stream: string, upTo: number): Promise<void>;
  /** How many outcomes of the stream are gone, and how many there have been; undefined when nothing waits. */
  span(stream: string): Promise<{ readonly before: number; readonly last: number } | undefined>;
}

/** Hears what became of outcomes. */
export interface SenderEvents {
  outcomesSent(receiver: string, count: number): void;
  outcomesDropped(receiver: string, count: number, why: string): void;
}

/** What a stream needs. */
export interface OutcomeStreamOptions {
  readonly outbox: Outbox;
  readonly receivers: readonly OutcomeReceiver[];
  /** Most outcomes kept for a receiver that is away. */
  readonly outcomesMax: number;
  readonly nowMs: () => number;
  readonly events: SenderEvents;
}

/** Owns how far each receiver has been told of one stream. The positions are in memory: whoever takes the stream over tells again
 * what is left of it. */
export class OutcomeStream {
  readonly #name: string;
  readonly #options: OutcomeStreamOptions;
  readonly #told = new Map<string, number>();
  /** The version up to which each receiver has heard all. */
  readonly #heard = new Map<string, number>();
  /** Batches by the position they follow: what one receiver reads, or has read, the other need not read again. */
  readonly #batches = createFifoCache<number, Promise<OutcomeBatch>>({ max: BATCHES_KEPT_MAX });

  constructor(name: string, options: OutcomeStreamOptions) {
    this.#name = name;
    this.#options = options;
    for (const receiver of options.receivers) this.#told.set(receiver.name, 0);
  }

  /** Tells one receiver what it has not heard; nothing when it has heard all of this version. What is added while it is told waits for
   * the next time: a call for a few outcomes costs its receiver as much as one for those of a second. */
  async tell(receiver: OutcomeReceiver, signal: AbortSignal, version: number): Promise<void> {
    if (this.#heard.get(receiver.name) === version) return;
    for (let i = 0; i < BATCHES_PER_STEP_MAX && !signal.aborted; i += 1) {
      const told = this.#told.get(receiver.name) ?? 0;
      const shared = this.#batches.get(told);
      const { groups, isLast } = await (shared ?? this.#read(told));
      const last = groups.at(-1);
      if (last === undefined) {
        // The other receiver's read may have begun before this version was.
        if (shared === undefined) this.#heard.set(receiver.name, version);
        return;
      }
      await this.#send(receiver, this.#fresh(receiver, groups), signal);
      this.#told.set(receiver.name, last.position);
      if (isLast && this.#batches.get(last.position) === undefined) return;
    }
  }

  /** Deletes what all have acknowledged, and, at the limit, the oldest of what they have not; returns how much is left. */
  async sweep(): Promise<number> {
    const { outbox, outcomesMax, events } = this.#options;
    const span = await outbox.span(this.#name);
    if (span === undefined) return 0;
    const told = Math.min(...this.#told.values());
    const excess = span.last - outcomesMax;
    const upTo = Math.max(told, excess);
    const from = Math.max(told, span.before);
    if (excess > from) events.outcomesDropped("all", excess - from, "outbox full");
    if (upTo > span.before) await outbox.delete(this.#name, upTo);
    return span.last - Math.max(upTo, span.before);
  }

  #read(after: number): Promise<OutcomeBatch> {
    const batch = this.#readAnew(after);
    this.#batches.set(after, batch);
    return batch;
  }

  /** What is empty, or could not be read, is not kept. */
  async #readAnew(after: number): Promise<OutcomeBatch> {
    let isKept = false;
    try {
      const batch = await this.#options.outbox.read(this.#name, after, {
        groupsMax: GROUPS_PER_CALL_MAX,
        bytesMax: BYTES_PER_CALL_MAX,
      });
      isKept = batch.groups.length > 0;
      return batch;
    } finally {
      if (!isKept) this.#batches.delete(after);
    }
  }

  #fresh(receiver: OutcomeReceiver, groups: readonly OutcomeGroup[]): readonly OutcomeGroup[] {
    const oldestMs = this.#options.nowMs() - OUTCOME_AGE_MAX_MS;
    const fresh = groups.filter((group) => group.createdAtMs >= oldestMs);
    const old = sumOf(groups) - sumOf(fresh);
    if (old > 0) this.#options.events.outcomesDropped(receiver.name, old, "too old");
    return fresh;
  }

  /** Sends a batch; one that is refused as invalid is split until the bad group is alone, which is dropped. */
  async #send(
    receiver: OutcomeReceiver,
    groups: readonly OutcomeGroup[],
    signal: AbortSignal,
  ): Promise<void> {
    if (groups.length === 0) return;
    try {
      await receiver.send(this.#name, groups, signal);
      this.#options.events.outcomesSent(receiver.name, sumOf(groups));
    } catch (error) {
      if (!NexusError.is(error, "invalid")) throw error;
      if (groups.length === 1) {
        this.#options.events.outcomesDropped(receiver.name, sumOf(groups), error.reason);
        return;
      }
      const middle = Math.ceil(groups.length / 2);
      await this.#send(receiver, groups.slice(0, middle), signal);
      await this.#send(receiver, groups.slice(middle), signal);
    }
  }
}

function sumOf(groups: readonly OutcomeGroup[]): number {
  return groups.reduce((sum, { outcomes }) => sum + outcomes, 0);
}
