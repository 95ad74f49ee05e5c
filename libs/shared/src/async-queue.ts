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

/** What createAsyncQueue needs. */
export interface AsyncQueueOptions {
  /** Most items that may wait; an item handed straight to a waiting consumer does not count. */
  readonly max: number;
  /** Called once when the consumer leaves its loop early, e.g. to stop the producer. */
  readonly onReturn?: () => void;
}

interface Waiter<T> {
  resolve(result: IteratorResult<T, undefined>): void;
  reject(error: unknown): void;
}

/** Creates a bounded queue that is iterated with `for await`.
 *
 * What to do when push() returns false is the producer's decision (refuse, drop with a count, end the stream):
 * the queue itself never grows beyond `max` and never drops silently. One consumer at a time.
 *
 * Cost: push and next are O(1) amortised. */
export function createAsyncQueue<T>(options: AsyncQueueOptions): AsyncQueue<T> {
  let items: T[] = [];
  let head = 0;
  let state: "open" | "ended" | "failed" | "returned" = "open";
  let failure: unknown;
  const waiters: Waiter<T>[] = [];

  const size = () => items.length - head;

  function take(): T {
    const item = items[head] as T;
    items[head] = undefined as T;
    head++;
    if (head === items.length) {
      items = [];
      head = 0;
    } else if (head > 1024 && head * 2 > items.length) {
      items = items.slice(head);
      head = 0;
    }
    return item;
  }

  function finish(next: "ended" | "failed" | "returned"): void {
    state = next;
    for (const waiter of waiters.splice(0)) {
      if (next === "failed") waiter.reject(failure);
      else waiter.resolve({ done: true, value: undefined });
      // Only the first waiter sees the failure; later calls see the end, as with a generator.
      if (next === "failed") {
        state = "ended";
        next = "ended";
      }
    }
  }

  function next(): Promise<IteratorResult<T, undefined>> {
    if (size() > 0) return Promise.resolve({ done: false, value: take() });
    if (state === "failed") {
      state = "ended";
      return Promise.reject(failure as Error);
    }
    if (state !== "open") return Promise.resolve({ done: true, value: undefined });
    return new Promise((resolve, reject) => waiters.push({ resolve, reject }));
  }

  function leave(): Promise<IteratorResult<T, undefined>> {
    const first = state !== "returned";
    items = [];
    head = 0;
    finish("returned");
    if (first) options.onReturn?.();
    return Promise.resolve({ done: true, value: undefined });
  }

  return {
    push(item) {
      if (state !== "open") return false;
      const waiter = waiters.shift();
      if (waiter !== undefined) {
        waiter.resolve({ done: false, value: item });
        return true;
      }
      if (size() >= options.max) return false;
      items.push(item);
      return true;
    },
    end() {
      if (state === "open") finish("ended");
    },
    fail(error) {
      if (state !== "open") return;
      failure = error;
      finish("failed");
    },
    get size() {
      return size();
    },
    get closed() {
      return state !== "open";
    },
    [Symbol.asyncIterator]: () => ({ next, return: leave }),
  };
}
