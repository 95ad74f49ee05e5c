import { type BatchLimits, BatchQueue } from "./batch-queue.ts";
import { NexusError } from "./nexus-error.ts";

/** What createBatcher needs. */
export interface BatcherOptions<I, O> extends BatchLimits {
  /** Handles one batch; must answer one output per input, in the same order. A rejection rejects every item of the batch. */
  readonly flush: (items: I[]) => Promise<readonly O[]>;
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

interface Entry<I, O> {
  readonly item: I;
  resolve(output: O): void;
  reject(error: unknown): void;
}

/** Hands a batch to flush and every output to its item; total, as the queue asks for. */
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

/** Creates a batcher: a BatchQueue, which says when batches leave, with a promise for each item. */
export function createBatcher<I, O>(options: BatcherOptions<I, O>): Batcher<I, O> {
  const queue = new BatchQueue<Entry<I, O>>({
    ...options,
    flush: (entries) => runFlush(options, entries),
  });
  return {
    // What push() throws rejects the promise.
    add: (item) =>
      new Promise<O>((resolve, reject) => {
        queue.push({ item, resolve, reject });
      }),
    get queued() {
      return queue.queued;
    },
    get inFlight() {
      return queue.inFlight;
    },
    close: () => queue.close(),
  };
}
