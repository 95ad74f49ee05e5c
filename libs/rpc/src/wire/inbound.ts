import type { Readable } from "node:stream";
import { READ_BUFFER_BYTES, READ_BUFFER_MESSAGES } from "../limits.ts";

/** How a stream ended: the peer finished, it failed, or the consumer stopped before the end. */
export type InboundEnd = "ended" | "failed" | "abandoned";

interface Waiting<T> {
  readonly resolve: (step: IteratorResult<T, undefined>) => void;
  readonly reject: (error: unknown) => void;
}

/** The messages of one direction of a stream, read from the transport only as fast as they are consumed.
 *
 * Holds up to READ_BUFFER_MESSAGES or READ_BUFFER_BYTES, then pauses the transport, whose own buffer takes at most 16
 * messages more before HTTP/2 flow control stops the peer. Reads in flowing mode: the `readable` protocol of Node
 * costs a tick per message (5 to 10 us per relayed message, test box, 2026-11). For one consumer; the source may be
 * attached later, when the call is really made. */
export class InboundStream<T> implements AsyncIterableIterator<T, undefined> {
  readonly #parse: (bytes: Buffer) => T;
  readonly #onEnd: ((end: InboundEnd, error: unknown) => void) | undefined;
  readonly #queue: Buffer[] = [];
  #queuedBytes = 0;
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
    source.on("data", (bytes: Buffer) => this.#take(bytes));
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
    // Each read() comes back as a `data` event, so this moves what a paused transport still holds into the queue.
    while (this.#source?.read() != null);
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

  #discard(): void {
    this.#queue.length = 0;
    this.#queuedBytes = 0;
  }

  #take(bytes: Buffer): void {
    if (this.#end === "abandoned" || this.#end === "failed") return;
    const waiting = this.#waiting;
    if (waiting !== undefined) {
      this.#waiting = undefined;
      this.#deliver(bytes, waiting);
      return;
    }
    this.#queue.push(bytes);
    this.#queuedBytes += bytes.length;
    if (this.#queue.length >= READ_BUFFER_MESSAGES || this.#queuedBytes >= READ_BUFFER_BYTES) {
      this.#source?.pause();
    }
  }

  #wake(): void {
    const waiting = this.#waiting;
    if (waiting === undefined) return;
    const bytes = this.#queue.shift();
    if (bytes !== undefined) {
      this.#waiting = undefined;
      this.#queuedBytes -= bytes.length;
      this.#deliver(bytes, waiting);
      if (this.#queue.length === 0 && this.#source?.isPaused() === true) this.#source.resume();
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
