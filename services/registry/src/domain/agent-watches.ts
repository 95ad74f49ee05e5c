/** Who is told of changes, and how much may wait for each. The index follower publishes, watch streams subscribe. */
import { type Clock, NexusError } from "@nexus/shared";
import type { Agent, AgentKey } from "./agent.ts";

/** Changes that may wait for one watcher. */
export const WATCH_BUFFER_MAX = 1_024;

/** A watcher that was told nothing for this long gets an empty batch. Below the contract's 5 s by more than one tick. */
export const WATCH_SILENCE_MAX_MS = 4_000;

/** How often silence is looked for. */
export const WATCH_TICK_MS = 500;

/** One agent as it is after a change; without a view it is gone. */
export interface AgentEvent {
  readonly key: AgentKey;
  readonly revision: number;
  readonly view: Agent | undefined;
  readonly approximateBytes: number;
}

/** What a watcher gets next: changes in order, an empty sign of life, or word that history broke off. */
export interface WatchBatch {
  readonly events: readonly AgentEvent[];
  /** The index was built anew: what the watcher knows may be wrong and it needs a snapshot. */
  readonly reset: boolean;
  /** Everything up to here has been told once this batch has. */
  readonly through: number;
}

/** One watcher. */
export interface AgentSubscription {
  /** Waits for the next batch; undefined after close. One call at a time.
   *
   * Errors: exhausted/WATCHER_TOO_SLOW once more than WATCH_BUFFER_MAX changes waited. */
  next(): Promise<WatchBatch | undefined>;
  /** Ends the subscription; safe to call twice. */
  close(): void;
}

/** All watchers of this replica. */
export class AgentWatches {
  readonly #clock: Clock;
  readonly #onTooSlow: () => void;
  readonly #subscriptions = new Set<Subscription>();
  #revision = 0;

  constructor(clock: Clock, onTooSlow: () => void) {
    this.#clock = clock;
    this.#onTooSlow = onTooSlow;
  }

  /** Watchers now. */
  get size(): number {
    return this.#subscriptions.size;
  }

  /** Subscribes to one namespace, or to all. Changes published after this call reach the subscription. */
  subscribe(namespace: string | undefined): AgentSubscription {
    const subscription = new Subscription({
      namespace,
      clock: this.#clock,
      revision: () => this.#revision,
      onTooSlow: this.#onTooSlow,
      onClose: () => this.#subscriptions.delete(subscription),
    });
    this.#subscriptions.add(subscription);
    return subscription;
  }

  /** Tells every watcher whom it concerns; `revision` is how far the index is now. */
  publish(events: readonly AgentEvent[], revision: number): void {
    this.#revision = revision;
    for (const subscription of this.#subscriptions) subscription.push(events);
  }

  /** Tells every watcher that the index was built anew. */
  reset(revision: number): void {
    this.#revision = revision;
    for (const subscription of this.#subscriptions) subscription.reset();
  }

  /** Gives a sign of life to watchers that have not had one for WATCH_SILENCE_MAX_MS. */
  tick(): void {
    for (const subscription of this.#subscriptions) subscription.tick();
  }

  /** Ends all subscriptions, for the shutdown. */
  close(): void {
    for (const subscription of this.#subscriptions) subscription.close();
  }
}

interface SubscriptionDeps {
  readonly namespace: string | undefined;
  readonly clock: Clock;
  readonly revision: () => number;
  readonly onTooSlow: () => void;
  readonly onClose: () => void;
}

interface Waiter {
  resolve(batch: WatchBatch | undefined): void;
}

class Subscription implements AgentSubscription {
  readonly #deps: SubscriptionDeps;
  #pending: AgentEvent[] = [];
  #resetPending = false;
  #state: "open" | "too_slow" | "closed" = "open";
  #waiter: Waiter | undefined;
  #lastToldAtMs: number;

  constructor(deps: SubscriptionDeps) {
    this.#deps = deps;
    this.#lastToldAtMs = deps.clock.nowMs();
  }

  next(): Promise<WatchBatch | undefined> {
    if (this.#state === "too_slow") return Promise.reject(tooSlow());
    if (this.#state === "closed") return Promise.resolve(undefined);
    if (this.#pending.length > 0 || this.#resetPending) return Promise.resolve(this.#take());
    return new Promise((resolve) => {
      this.#waiter = { resolve };
    });
  }

  push(events: readonly AgentEvent[]): void {
    const { namespace } = this.#deps;
    const mine =
      namespace === undefined ? events : events.filter(({ key }) => key.namespace === namespace);
    if (mine.length === 0 || this.#state !== "open") return;
    if (this.#pending.length + mine.length > WATCH_BUFFER_MAX) {
      this.#state = "too_slow";
      this.#pending = [];
      this.#deps.onTooSlow();
      this.#deps.onClose();
      return;
    }
    this.#pending.push(...mine);
    this.#wake();
  }

  reset(): void {
    this.#pending = [];
    this.#resetPending = true;
    this.#wake();
  }

  tick(): void {
    const silentMs = this.#deps.clock.nowMs() - this.#lastToldAtMs;
    if (silentMs >= WATCH_SILENCE_MAX_MS) this.#wake();
  }

  close(): void {
    if (this.#state === "closed") return;
    this.#state = "closed";
    this.#pending = [];
    this.#deps.onClose();
    this.#settle(undefined);
  }

  /** Answers a waiting next(); without one the batch keeps growing until it is asked for. */
  #wake(): void {
    if (this.#waiter !== undefined) this.#settle(this.#take());
  }

  #take(): WatchBatch {
    const batch = {
      events: this.#pending,
      reset: this.#resetPending,
      through: this.#deps.revision(),
    };
    this.#pending = [];
    this.#resetPending = false;
    this.#lastToldAtMs = this.#deps.clock.nowMs();
    return batch;
  }

  #settle(batch: WatchBatch | undefined): void {
    const waiter = this.#waiter;
    this.#waiter = undefined;
    waiter?.resolve(batch);
  }
}

function tooSlow(): NexusError {
  return new NexusError({
    kind: "exhausted",
    reason: "WATCHER_TOO_SLOW",
    message: `The watcher fell more than ${WATCH_BUFFER_MAX} changes behind; resume the watch.`,
  });
}
