import type { Writable } from "node:stream";
import { WRITE_BUFFER_BYTES, WRITE_BUFFER_MESSAGES } from "../limits.ts";

/** Writes messages to a stream and says when the writer has to wait for the reader.
 *
 * Counts bytes as well as messages: sixteen messages of 4 MiB would otherwise count as little as sixteen
 * heartbeats. */
export class OutboundStream {
  readonly #sink: Writable;
  #bytes = 0;
  #messages = 0;
  #closed = false;
  #resume: (() => void) | undefined;

  constructor(sink: Writable) {
    this.#sink = sink;
  }

  /** Sends a message; returns undefined when another may follow at once, else a promise to wait for.
   *
   * The promise also resolves when the stream closes, since a closed transport never acknowledges. */
  write(bytes: Buffer): Promise<void> | undefined {
    if (this.#closed) return undefined;
    this.#bytes += bytes.length;
    this.#messages += 1;
    this.#sink.write(bytes, () => {
      this.#bytes -= bytes.length;
      this.#messages -= 1;
      if (!this.#isFull()) this.#wake();
    });
    if (!this.#isFull()) return undefined;
    return new Promise((resolve) => {
      this.#resume = resolve;
    });
  }

  /** Lets a waiting writer go on; later writes are dropped. */
  close(): void {
    this.#closed = true;
    this.#wake();
  }

  #isFull(): boolean {
    return this.#bytes >= WRITE_BUFFER_BYTES || this.#messages >= WRITE_BUFFER_MESSAGES;
  }

  #wake(): void {
    const resume = this.#resume;
    this.#resume = undefined;
    resume?.();
  }
}
