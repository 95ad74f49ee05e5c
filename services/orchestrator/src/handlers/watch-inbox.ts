/** What a watch has received, cut into messages: never more than fits into one, never silent for long. */
import { type AsyncQueue, MiB } from "@nexus/shared";
import { FRAME_ITEMS_MAX } from "../domain/limits.ts";

/** A message takes no further item once it holds so many bytes: with one more of the largest chunks it stays well below
 * the 4 MiB of a gRPC message. */
export const WATCH_MESSAGE_BYTES = 1 * MiB;

/** Takes what is there, at most one message's worth; an empty batch when nothing came for a heartbeat. */
export class WatchInbox<T> {
  readonly #items: AsyncQueue<T>;
  readonly #iterator: AsyncIterator<T>;
  readonly #heartbeatMs: number;
  readonly #bytesOf: (item: T) => number;
  #pending: Promise<IteratorResult<T>> | undefined;

  constructor(items: AsyncQueue<T>, heartbeatMs: number, bytesOf: (item: T) => number) {
    this.#items = items;
    this.#iterator = items[Symbol.asyncIterator]();
    this.#heartbeatMs = heartbeatMs;
    this.#bytesOf = bytesOf;
  }

  /** Undefined when the subscription is over. */
  async next(): Promise<T[] | undefined> {
    this.#pending ??= this.#iterator.next();
    const first = await withinHeartbeat(this.#pending, this.#heartbeatMs);
    if (first === undefined) return [];
    this.#pending = undefined;
    if (first.done === true) return undefined;
    const batch = [first.value];
    let bytes = this.#bytesOf(first.value);
    while (batch.length < FRAME_ITEMS_MAX && bytes < WATCH_MESSAGE_BYTES && this.#items.size > 0) {
      const more = await this.#iterator.next();
      if (more.done === true) break;
      batch.push(more.value);
      bytes += this.#bytesOf(more.value);
    }
    return batch;
  }
}

function withinHeartbeat<T>(promise: Promise<T>, ms: number): Promise<T | undefined> {
  let timer: NodeJS.Timeout | undefined;
  const silence = new Promise<undefined>((resolve) => {
    timer = setTimeout(() => resolve(undefined), ms);
  });
  return Promise.race([promise, silence]).finally(() => clearTimeout(timer));
}
