import { NexusError } from "./nexus-error.ts";

/** When batches leave, and how much may wait. */
export interface BatchLimits {
  /** For error messages, e.g. `submit`. */
  readonly name: string;
  /** A batch is flushed as soon as it holds this many items, and never holds more. */
  readonly maxItems: number;
  /** A batch is flushed at the latest this long after its first item, in milliseconds; 0 means in the next turn of the event loop. */
  readonly maxDelayMs: number;
  /** Most items that may wait (items inside running flushes do not count); beyond it an item is refused with exhausted/QUEUE_FULL. */
  readonly maxQueued: number;
  /** Most flushes at the same time; default 1, which also keeps batches in order. */
  readonly concurrency?: number;
}

/** What a BatchQueue needs. */
export interface BatchQueueOptions<I> extends BatchLimits {
  /** Handles one batch, and tells whoever waits for its items what became of them. Must not reject. */
  readonly flush: (items: I[]) => Promise<void>;
}

/** setTimeout counts in whole milliseconds and may fire a fraction early; less than this counts as now. */
const TIMER_SLACK_MS = 1;
/** A refused caller waits at least this long: a queue that is full drains in flushes, not in microseconds. */
const FULL_RETRY_MIN_MS = 10;
/** What was left over when a batch left has waited long enough. */
const LONG_AGO = Number.NEGATIVE_INFINITY;

/** Joins many single items into few batches, and remembers nothing of an item but the item: createBatcher() is this with a promise for
 * each.
 *
 * A batch leaves when it is full or maxDelayMs after its first item, as soon as fewer than `concurrency` flushes run;
 * while they run, the next batch keeps filling. So an idle system adds at most maxDelayMs to a call, and a busy
 * one batches by itself: what arrived during a flush that took longer than maxDelayMs is the next batch.
 *
 * Order: items are flushed in the order of push(); with concurrency 1 batches end in that order too.
 * Cost: O(1) per item; at most one timer per batch. Source: group commit, DeWitt et al. 1984, section 5.2. */
export class BatchQueue<I> {
  readonly #options: BatchQueueOptions<I>;
  readonly #concurrency: number;
  readonly #waiting: I[] = [];
  /** When the first item that waits came. */
  #firstAtMs = LONG_AGO;
  /** False until it waited for a timer or for a running flush: the first item of an idle queue always gives
   * others of the same turn of the event loop the chance to join. */
  #firstWaited = false;
  #inFlight = 0;
  #closing: Promise<void> | undefined;
  #onIdle: (() => void) | undefined;
  #cancelTimer: (() => void) | undefined;

  /** Errors: RangeError for limits with which a batch could never fill or never leave. */
  constructor(options: BatchQueueOptions<I>) {
    assertLimits(options);
    this.#options = options;
    this.#concurrency = options.concurrency ?? 1;
  }

  /** Items waiting for a flush. */
  get queued(): number {
    return this.#waiting.length;
  }

  /** Flushes running now. */
  get inFlight(): number {
    return this.#inFlight;
  }

  /** Takes an item in. Errors: exhausted/QUEUE_FULL beyond maxQueued; unavailable/CLOSED after close(). */
  push(item: I): void {
    if (this.#closing !== undefined) throw closedError(this.#options.name);
    if (this.#waiting.length >= this.#options.maxQueued) throw fullError(this.#options);
    if (this.#waiting.length === 0) {
      this.#firstAtMs = performance.now();
      this.#firstWaited = this.#inFlight >= this.#concurrency;
    }
    this.#waiting.push(item);
    this.#pump();
  }

  /** Refuses new items, flushes what waits without further delay, resolves when all flushes are over. Never rejects. */
  close(): Promise<void> {
    this.#closing ??= new Promise<void>((resolve) => {
      this.#onIdle = resolve;
    });
    this.#pump();
    return this.#closing;
  }

  #pump(): void {
    while (this.#waiting.length > 0) {
      if (this.#inFlight >= this.#concurrency || !this.#isDue()) return;
      this.#launch();
    }
    if (this.#inFlight === 0) this.#onIdle?.();
  }

  /** Says whether the batch at the head may leave; arms the timer for it when not. */
  #isDue(): boolean {
    const { maxItems, maxDelayMs } = this.#options;
    if (this.#closing !== undefined || this.#waiting.length >= maxItems) return true;
    if (this.#cancelTimer !== undefined) return false;
    const remainingMs = this.#firstAtMs + maxDelayMs - performance.now();
    if (remainingMs < TIMER_SLACK_MS && this.#firstWaited) return true;
    this.#firstWaited = true;
    this.#cancelTimer = startTimer(() => this.#onTimer(), remainingMs);
    return false;
  }

  #onTimer(): void {
    this.#cancelTimer = undefined;
    this.#pump();
  }

  #launch(): void {
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
    this.#inFlight += 1;
    const batch = this.#waiting.splice(0, this.#options.maxItems);
    this.#firstAtMs = LONG_AGO;
    this.#firstWaited = true;
    const onEnd = (): void => {
      this.#inFlight -= 1;
      this.#pump();
    };
    void this.#options.flush(batch).then(onEnd, onEnd);
  }
}

/** Calls back after a delay; below TIMER_SLACK_MS in the next turn of the event loop, which setTimeout cannot do. */
function startTimer(fn: () => void, delayMs: number): () => void {
  if (delayMs < TIMER_SLACK_MS) {
    const immediate = setImmediate(fn);
    return () => clearImmediate(immediate);
  }
  const timer = setTimeout(fn, delayMs);
  return () => clearTimeout(timer);
}

function assertLimits(limits: BatchLimits): void {
  const { name, maxItems, maxQueued, maxDelayMs, concurrency = 1 } = limits;
  const sound = maxItems >= 1 && maxQueued >= maxItems && maxDelayMs >= 0 && concurrency >= 1;
  if (sound) return;
  throw new RangeError(
    `The ${name} batcher needs 1 <= maxItems <= maxQueued and concurrency >= 1.`,
  );
}

function closedError(name: string): NexusError {
  return new NexusError({
    kind: "unavailable",
    reason: "CLOSED",
    message: `The ${name} batcher is closed.`,
  });
}

function fullError({ name, maxQueued, maxDelayMs }: BatchLimits): NexusError {
  return new NexusError({
    kind: "exhausted",
    reason: "QUEUE_FULL",
    message: `The ${name} queue holds its limit of ${maxQueued} items.`,
    details: { retryAfterMs: Math.max(FULL_RETRY_MIN_MS, maxDelayMs) },
  });
}
