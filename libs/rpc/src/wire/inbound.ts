import type { Readable } from "node:stream";

/** How a stream ended: the peer finished, it failed, or the consumer stopped before the end. */
export type InboundEnd = "ended" | "failed" | "abandoned";

interface Waiting<T> {
  readonly resolve: (step: IteratorResult<T, undefined>) => void;
  readonly reject: (error: unknown) => void;
}

/** The messages of one direction of a stream, read from the transport only as fast as they are consumed.
 *
 * The transport's own buffer holds at most its high-water mark (16 messages) and then stops the peer by HTTP/2
 * flow control. For one consumer; the source may be attached later, when the call is really made. */
export class InboundStream<T> implements AsyncIterableIterator<T, undefined> {
  readonly #parse: (bytes: Buffer) => T;
  readonly #onEnd: ((end: InboundEnd, error: unknown) => void) | undefined;
  #source: Readable | undefined;
  #waiting: Waiting<T> | undefined;
  #end: InboundEnd | undefined;
  #error: unknown;

  /** `onEnd` runs once, as soon as it is known that no further message will come. */
  constructor(parse: (bytes: Buffer) => T, onEnd?: (end: InboundEnd, error: unknown) => void) {
    this.#parse = parse;
    this.#onEnd = onEnd;
  }

  /** Starts reading from the transport.
   *
   * A client of Node that cancels sends END_STREAM right before RST_STREAM. With `isCut` an end is believed one turn
   * of the event loop later, and only if that says no; when it says yes, abort() is about to follow. */
  attach(source: Readable, isCut?: () => boolean): void {
    this.#source = source;
    source.on("readable", () => this.#wake());
    source.on("end", () => {
      if (isCut === undefined) return this.#close("ended");
      setImmediate(() => {
        if (!isCut()) this.#close("ended");
      });
    });
    this.#wake();
  }

  /** How the stream ended, or undefined while it is open. */
  get end(): InboundEnd | undefined {
    return this.#end;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  next(): Promise<IteratorResult<T, undefined>> {
    if (this.#waiting !== undefined) {
      return Promise.reject(new Error("next() was called before the previous next() settled."));
    }
    return new Promise((resolve, reject) => {
      this.#waiting = { resolve, reject };
      this.#wake();
    });
  }

  return(): Promise<IteratorResult<T, undefined>> {
    this.#close("abandoned");
    return Promise.resolve({ value: undefined, done: true });
  }

  /** Ends the stream with an error once the messages that arrived before it are consumed. */
  fail(error: unknown): void {
    this.#close("failed", error);
  }

  /** Ends the stream with an error at once; messages not consumed yet are dropped. */
  abort(error: unknown): void {
    if (this.#end === undefined) this.#discard();
    this.#close("failed", error);
  }

  #close(end: InboundEnd, error?: unknown): void {
    if (this.#end !== undefined) return;
    this.#end = end;
    this.#error = error;
    if (end === "abandoned") this.#discard();
    this.#wake();
    this.#onEnd?.(end, error);
  }

  /** Empties the transport's buffer, so that unread messages do not hold the stream's memory. */
  #discard(): void {
    while (this.#read() !== null);
  }

  #read(): Buffer | null {
    return (this.#source?.read() ?? null) as Buffer | null;
  }

  #wake(): void {
    const waiting = this.#waiting;
    if (waiting === undefined) return;
    const bytes = this.#read();
    if (bytes !== null) {
      this.#waiting = undefined;
      this.#deliver(bytes, waiting);
    } else if (this.#end !== undefined) {
      this.#waiting = undefined;
      if (this.#end === "failed") waiting.reject(this.#error);
      else waiting.resolve({ value: undefined, done: true });
    }
  }

  #deliver(bytes: Buffer, { resolve, reject }: Waiting<T>): void {
    let value: T;
    try {
      value = this.#parse(bytes);
    } catch (error) {
      reject(error);
      this.abort(error);
      return;
    }
    resolve({ value, done: false });
  }
}
