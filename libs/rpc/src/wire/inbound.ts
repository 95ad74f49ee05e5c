import type { Readable } from "node:stream";

/** The messages of one direction of a stream, read from the transport only as fast as they are consumed.
 *
 * The transport's own buffer holds at most its high-water mark (16 messages) and then stops the peer by HTTP/2
 * flow control. One consumer: iterating twice shares the messages. */
export class InboundStream<T> implements AsyncIterableIterator<T> {
  readonly #source: Readable;
  readonly #parse: (bytes: Buffer) => T;
  readonly #onAbandon: (() => void) | undefined;
  #waiting:
    | { resolve: (step: IteratorResult<T>) => void; reject: (e: unknown) => void }
    | undefined;
  #state: "open" | "ended" | "failed" | "abandoned" = "open";
  #error: unknown;

  /** `onAbandon` runs when the consumer stops before the end. */
  constructor(source: Readable, parse: (bytes: Buffer) => T, onAbandon?: () => void) {
    this.#source = source;
    this.#parse = parse;
    this.#onAbandon = onAbandon;
    source.on("readable", () => this.#wake());
    source.on("end", () => this.#close("ended"));
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  next(): Promise<IteratorResult<T>> {
    if (this.#waiting !== undefined) {
      return Promise.reject(new Error("next() was called before the previous next() settled."));
    }
    return new Promise((resolve, reject) => {
      this.#waiting = { resolve, reject };
      this.#wake();
    });
  }

  return(): Promise<IteratorResult<T>> {
    if (this.#state === "open") {
      this.#close("abandoned");
      this.#onAbandon?.();
    }
    return Promise.resolve({ value: undefined, done: true });
  }

  /** Ends the stream with an error once the messages that arrived before are consumed; `now` drops those. */
  fail(error: unknown, now = false): void {
    if (this.#state !== "open") return;
    this.#error = error;
    this.#close("failed", now);
  }

  #close(state: "ended" | "failed" | "abandoned", now = false): void {
    if (this.#state !== "open") return;
    this.#state = state;
    if (now || state === "abandoned") this.#discard();
    this.#wake();
  }

  /** Empties the transport's buffer, so that an unread message does not hold the stream's memory. */
  #discard(): void {
    while (this.#source.read() !== null);
  }

  #wake(): void {
    const waiting = this.#waiting;
    if (waiting === undefined) return;
    const bytes: Buffer | null = this.#source.read();
    if (bytes !== null) {
      this.#waiting = undefined;
      try {
        waiting.resolve({ value: this.#parse(bytes), done: false });
      } catch (error) {
        waiting.reject(error);
      }
    } else if (this.#state !== "open") {
      this.#waiting = undefined;
      if (this.#state === "failed") waiting.reject(this.#error);
      else waiting.resolve({ value: undefined, done: true });
    }
  }
}
