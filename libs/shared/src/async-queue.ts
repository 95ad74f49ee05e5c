/** A bounded queue between one or more producers and one consumer that iterates it. */
export interface AsyncQueue<T> extends AsyncIterable<T> {
  /** Adds an item; false when the queue is full or closed, and then the item is not kept. */
  push(item: T): boolean;
  /** No more items: the consumer gets what is queued, then the end. */
  end(): void;
  /** The consumer gets what is queued, then this error. The first end or fail counts. */
  fail(error: unknown): void;
  /** Items waiting now. */
  readonly size: number;
  /** True after end, fail, or after the consumer left its loop. */
  readonly closed: boolean;
}

/** Where items wait, which may hold what other queues' items are, too. */
export interface QueueRoom<T> {
  /** An item has to wait; false when it may not. */
  enter(item: T): boolean;
  /** An item that waited was taken, or given up with its queue. */
  leave(item: T): void;
}

/** What createAsyncQueue needs. */
export interface AsyncQueueOptions<T> {
  /** Most items that may wait; an item handed straight to a waiting consumer does not count. */
  readonly max: number;
  /** Bounds what waits by more than its number. */
  readonly room?: QueueRoom<T>;
  /** Called once when the consumer leaves its loop early, e.g. to stop the producer. */
  readonly onReturn?: () => void;
}

interface Waiter<T> {
  resolve(result: IteratorResult<T, undefined>): void;
  reject(error: Error): void;
}

function toError(error: unknown): Error {
  return error instanceof Error ? error : new Error("The queue failed.", { cause: error });
}

/** The array is cut when this many taken slots lead it, so that taking stays O(1) amortised. */
const COMPACT_AT = 1024;

class BoundedQueue<T> implements AsyncQueue<T>, AsyncIterator<T, undefined> {
  readonly #options: AsyncQueueOptions<T>;
  readonly #waiters: Waiter<T>[] = [];
  #items: T[] = [];
  #head = 0;
  #closed = false;
  #returned = false;
  /** Set by fail() until one call of next() has thrown it; afterwards the queue has simply ended. */
  #failure: Error | undefined;

  constructor(options: AsyncQueueOptions<T>) {
    this.#options = options;
  }

  get size(): number {
    return this.#items.length - this.#head;
  }

  get closed(): boolean {
    return this.#closed;
  }

  push(item: T): boolean {
    if (this.#closed) return false;
    const waiter = this.#waiters.shift();
    if (waiter !== undefined) {
      waiter.resolve({ done: false, value: item });
      return true;
    }
    const { max, room } = this.#options;
    if (this.size >= max || room?.enter(item) === false) return false;
    this.#items.push(item);
    return true;
  }

  end(): void {
    if (!this.#closed) this.#close();
  }

  fail(error: unknown): void {
    if (this.#closed) return;
    const waiter = this.#waiters.shift();
    const failure = toError(error);
    if (waiter === undefined) this.#failure = failure;
    else waiter.reject(failure);
    this.#close();
  }

  next(): Promise<IteratorResult<T, undefined>> {
    if (this.size > 0) return Promise.resolve({ done: false, value: this.#take() });
    if (this.#failure !== undefined) {
      const failure = this.#failure;
      this.#failure = undefined;
      return Promise.reject(failure);
    }
    if (this.#closed) return Promise.resolve({ done: true, value: undefined });
    return new Promise((resolve, reject) => this.#waiters.push({ resolve, reject }));
  }

  /** Called by the language when the consumer leaves its loop. */
  return(): Promise<IteratorResult<T, undefined>> {
    for (const item of this.#items.slice(this.#head)) this.#options.room?.leave(item);
    this.#items = [];
    this.#head = 0;
    this.#failure = undefined;
    this.#close();
    if (!this.#returned) this.#options.onReturn?.();
    this.#returned = true;
    return Promise.resolve({ done: true, value: undefined });
  }

  [Symbol.asyncIterator](): AsyncIterator<T, undefined> {
    return this;
  }

  #take(): T {
    const item = this.#items[this.#head] as T;
    // The slot is emptied so that the item can be collected before the array is cut.
    this.#items[this.#head] = undefined as T;
    this.#head++;
    if (this.size === 0 || (this.#head >= COMPACT_AT && this.#head * 2 >= this.#items.length)) {
      this.#items = this.#items.slice(this.#head);
      this.#head = 0;
    }
    this.#options.room?.leave(item);
    return item;
  }

  #close(): void {
    this.#closed = true;
    for (const waiter of this.#waiters.splice(0)) waiter.resolve({ done: true, value: undefined });
  }
}

/** Creates a bounded queue that is iterated with `for await`.
 *
 * What to do when push() returns false is the producer's decision (refuse, drop with a count, end the stream):
 * the queue itself never grows beyond `max` and never drops silently. One consumer at a time.
 *
 * Cost: push and next are O(1) amortised. */
export function createAsyncQueue<T>(options: AsyncQueueOptions<T>): AsyncQueue<T> {
  return new BoundedQueue<T>(options);
}
