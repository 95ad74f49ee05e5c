/** Tells registry and insight how attempts ended, after the commit, each at its own pace. A receiver keeps the last position it
 * counted of each stream, so that what is told twice counts once. */
import type { OutcomeReceiver } from "../domain/outcome.ts";
import { type Outbox, OutcomeStream, type SenderEvents } from "./outcome-stream.ts";

/** What the sender needs. */
export interface OutboxSenderOptions {
  readonly outbox: Outbox & {
    /** Streams that have something left and whose replica is gone, oldest first. */
    orphans(): Promise<readonly string[]>;
  };
  readonly receivers: readonly OutcomeReceiver[];
  readonly outcomesMax: number;
  /** The stream of this start of the process. */
  readonly stream: string;
  /** Grows when outcomes were committed: while it stands still, a receiver that has heard all is not asked again. */
  readonly version: () => number;
  /** Says whether what dead replicas left is this one's to tell: one replica at a time does it. */
  readonly adopts: () => boolean;
  readonly nowMs: () => number;
  readonly events: SenderEvents & { outboxDepth(outcomes: number): void };
}

/** Owns the streams that this replica tells: its own, and those of dead replicas. */
export class OutboxSender {
  readonly #options: OutboxSenderOptions;
  readonly #own: OutcomeStream;
  readonly #adopted = new Map<string, OutcomeStream>();
  #sweeps = 0;

  constructor(options: OutboxSenderOptions) {
    this.#options = options;
    this.#own = new OutcomeStream(options.stream, options);
  }

  /** Tells one receiver what it has not heard. Each receiver has a loop of its own, so a slow one holds up nobody. */
  async tell(receiver: OutcomeReceiver, signal: AbortSignal): Promise<void> {
    await this.#own.tell(receiver, signal, this.#options.version());
    // Nobody says when something is added to these, which takes a replica that came back for a moment: each sweep is a reason to look.
    for (const stream of this.#adopted.values()) {
      await stream.tell(receiver, signal, this.#sweeps);
    }
  }

  /** Deletes what all have acknowledged, and, at the limit, the oldest of what they have not; looks for streams to adopt. */
  async sweep(): Promise<void> {
    await this.#adopt();
    this.#sweeps += 1;
    let depth = 0;
    for (const stream of [this.#own, ...this.#adopted.values()]) depth += await stream.sweep();
    this.#options.events.outboxDepth(depth);
  }

  /** A stream that is told to its end is deleted, and with it no orphan any more. */
  async #adopt(): Promise<void> {
    const { adopts, outbox, stream: own } = this.#options;
    // After a loss of its connection this replica may be put out for a while: its own stream stays its own.
    const orphans = adopts() ? (await outbox.orphans()).filter((name) => name !== own) : [];
    for (const name of this.#adopted.keys()) {
      if (!orphans.includes(name)) this.#adopted.delete(name);
    }
    for (const name of orphans) {
      if (!this.#adopted.has(name)) {
        this.#adopted.set(name, new OutcomeStream(name, this.#options));
      }
    }
  }
}
