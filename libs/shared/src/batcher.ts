import { NexusError } from "./nexus-error.ts";

/** What createBatcher needs. */
export interface BatcherOptions<I, O> {
  /** For error messages, e.g. `submit`. */
  readonly name: string;
  /** A batch is flushed as soon as it holds this many items, and never holds more. */
  readonly maxItems: number;
  /** A batch is flushed at the latest this long after its first item, in milliseconds; 0 means in the next turn of the event loop. */
  readonly maxDelayMs: number;
  /** Most items that may wait (items inside running flushes do not count); beyond it add() rejects with exhausted/QUEUE_FULL. */
  readonly maxQueued: number;
  /** Handles one batch; must answer one output per input, in the same order. A rejection rejects every item of the batch. */
  readonly flush: (items: I[]) => Promise<readonly O[]>;
  /** Most flushes at the same time; default 1, which also keeps batches in order. */
  readonly concurrency?: number;
}

/** Joins many single calls into few batched ones: the group commit of the project. */
export interface Batcher<I, O> {
  /** Resolves with the item's own output after its batch was flushed.
   *
   * Errors: exhausted/QUEUE_FULL beyond maxQueued; unavailable/CLOSED after close(); whatever flush rejects with. */
  add(item: I): Promise<O>;
  /** Items waiting for a flush. */
  readonly queued: number;
  /** Flushes running now. */
  readonly inFlight: number;
  /** Refuses new items, flushes what waits without further delay, resolves when all flushes are over. Never rejects. */
  close(): Promise<void>;
}

/** setTimeout counts in whole milliseconds and may fire a fraction early; less than this counts as now. */
const TIMER_SLACK_MS = 1;
/** A refused caller waits at least this long: a queue that is full drains in flushes, not in microseconds. */
const FULL_RETRY_MIN_MS = 10;

interface Entry<I, O> {
  readonly item: I;
  readonly addedAtMs: number;
  /** False until it waited for a timer or for a running flush: the first item of an idle batcher always gives
   * others of the same turn of the event loop the chance to join. */
  waited: boolean;
  resolve(output: O): void;
  reject(error: unknown): void;
}

function closedError(name: string): NexusError {
  return new NexusError({
    kind: "unavailable",
    reason: "CLOSED",
    message: `The ${name} batcher is closed.`,
  });
}

function fullError(options: BatcherOptions<never, unknown>): NexusError {
  return new NexusError({
    kind: "exhausted",
    reason: "QUEUE_FULL",
    message: `The ${options.name} queue holds its limit of ${options.maxQueued} items.`,
    details: { retryAfterMs: Math.max(FULL_RETRY_MIN_MS, options.maxDelayMs) },
  });
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

/** Refuses limits with which a batch could never fill or never leave. */
function assertLimits(options: BatcherOptions<never, unknown>): void {
  const { name, maxItems, maxQueued, maxDelayMs, concurrency = 1 } = options;
  const sound = maxItems >= 1 && maxQueued >= maxItems && maxDelayMs >= 0 && concurrency >= 1;
  if (sound) return;
  throw new RangeError(
    `The ${name} batcher needs 1 <= maxItems <= maxQueued and concurrency >= 1.`,
  );
}

/** Hands a batch to flush and every output to its item; total, so the caller's loop cannot break. */
async function runFlush<I, O>(
  options: BatcherOptions<I, O>,
  entries: readonly Entry<I, O>[],
): Promise<void> {
  try {
    const outputs = await options.flush(entries.map((entry) => entry.item));
    if (outputs.length !== entries.length) {
      throw new NexusError({
        kind: "internal",
        reason: "INTERNAL",
        message: `The ${options.name} flush answered ${outputs.length} outputs for ${entries.length} items.`,
      });
    }
    entries.forEach((entry, i) => {
      entry.resolve(outputs[i] as O);
    });
  } catch (error) {
    for (const entry of entries) entry.reject(error);
  }
}

/** Creates a batcher.
 *
 * A batch leaves when it is full or maxDelayMs after its first item, as soon as fewer than `concurrency` flushes run;
 * while they run, the next batch keeps filling. So an idle system adds at most maxDelayMs to a call, and a busy
 * one batches by itself: what arrived during a flush that took longer than maxDelayMs is the next batch.
 *
 * Order: items are flushed in the order of add(); with concurrency 1 batches commit in that order too.
 * Cost: O(1) per item; at most one timer per batch. Source: group commit, DeWitt et al. 1984, section 5.2. */
export function createBatcher<I, O>(options: BatcherOptions<I, O>): Batcher<I, O> {
  assertLimits(options);
  const concurrency = options.concurrency ?? 1;
  const waiting: Entry<I, O>[] = [];
  let inFlight = 0;
  let closing: Promise<void> | undefined;
  let onIdle: (() => void) | undefined;
  let cancelTimer: (() => void) | undefined;

  function onTimer(): void {
    cancelTimer = undefined;
    pump();
  }

  /** Says whether the batch at the head may leave; arms the timer for it when not. */
  function isDue(first: Entry<I, O>): boolean {
    if (closing !== undefined || waiting.length >= options.maxItems) return true;
    if (cancelTimer !== undefined) return false;
    const remainingMs = first.addedAtMs + options.maxDelayMs - performance.now();
    if (remainingMs < TIMER_SLACK_MS && first.waited) return true;
    first.waited = true;
    cancelTimer = startTimer(onTimer, remainingMs);
    return false;
  }

  function launch(): void {
    cancelTimer?.();
    cancelTimer = undefined;
    inFlight++;
    void runFlush(options, waiting.splice(0, options.maxItems)).then(() => {
      inFlight--;
      pump();
    });
  }

  function pump(): void {
    for (let first = waiting[0]; first !== undefined; first = waiting[0]) {
      if (inFlight >= concurrency || !isDue(first)) return;
      launch();
    }
    if (inFlight === 0) onIdle?.();
  }

  return {
    add(item) {
      if (closing !== undefined) return Promise.reject(closedError(options.name));
      if (waiting.length >= options.maxQueued) return Promise.reject(fullError(options));
      return new Promise<O>((resolve, reject) => {
        const waited = inFlight >= concurrency;
        waiting.push({ item, resolve, reject, addedAtMs: performance.now(), waited });
        pump();
      });
    },
    get queued() {
      return waiting.length;
    },
    get inFlight() {
      return inFlight;
    },
    close() {
      closing ??= new Promise<void>((resolve) => {
        onIdle = resolve;
      });
      pump();
      return closing;
    },
  };
}
