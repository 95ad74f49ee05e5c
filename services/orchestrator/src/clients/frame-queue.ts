/** The frames that wait for a stream's transport, bounded in number and in bytes. */
import { type AsyncQueue, createAsyncQueue } from "@nexus/shared";

/** What a frame queue holds at most. */
export interface FrameQueueLimits {
  readonly frames: number;
  readonly bytes: number;
}

interface Sized<T> {
  readonly frame: T;
  readonly sizeBytes: number;
}

/** Owns the waiting frames of one stream. One consumer. */
export class FrameQueue<T> implements AsyncIterable<T> {
  readonly #queue: AsyncQueue<Sized<T>>;
  readonly #bytesMax: number;
  #bytes = 0;

  constructor(limits: FrameQueueLimits) {
    this.#queue = createAsyncQueue({ max: limits.frames });
    this.#bytesMax = limits.bytes;
  }

  get closed(): boolean {
    return this.#queue.closed;
  }

  /** Adds a frame; false when there is no room or the queue is closed, and then the frame is not kept. */
  push(frame: T, sizeBytes: number): boolean {
    if (this.#bytes + sizeBytes > this.#bytesMax) return false;
    this.#bytes += sizeBytes;
    if (this.#queue.push({ frame, sizeBytes })) return true;
    this.#bytes -= sizeBytes;
    return false;
  }

  /** No more frames: the consumer gets what waits, then the end. */
  end(): void {
    this.#queue.end();
  }

  /** Not a generator, so that return() reaches the queue while next() waits. */
  [Symbol.asyncIterator](): AsyncIterator<T, undefined> {
    const inner = this.#queue[Symbol.asyncIterator]();
    return {
      next: async () => {
        const step = await inner.next();
        if (step.done === true) return { done: true, value: undefined };
        this.#bytes -= step.value.sizeBytes;
        return { done: false, value: step.value.frame };
      },
      return: async () => {
        await inner.return?.();
        return { done: true, value: undefined };
      },
    };
  }
}
