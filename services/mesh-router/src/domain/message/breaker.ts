import { BREAKER_FAILURES, BREAKER_OPEN_MS } from "../limits.ts";

/** Spares senders the wait for a receiver that reads and does not acknowledge. CLOSED, OPEN for a while after several
 * unacknowledged messages in a row, then one probe at a time. It closes with the receiver's next word.
 *
 * A probe that hangs holds it no longer than an open breaker does, and one that ends without a verdict not at all: whatever
 * becomes of it, the next one may go.   Source: M. Nygard, "Release It!", circuit breaker. */
export class Breaker {
  #failures = 0;
  #openUntilMs = 0;
  #probe: object | undefined;

  /** How long a sender should wait; 0 when the next message may go. */
  pauseMs(nowMs: number): number {
    return this.#failures < BREAKER_FAILURES ? 0 : Math.max(0, this.#openUntilMs - nowMs);
  }

  /** A message goes to the receiver. When the breaker is not closed, it is the probe. */
  letThrough(message: object, nowMs: number): void {
    if (this.#failures < BREAKER_FAILURES) return;
    this.#probe = message;
    this.#openUntilMs = nowMs + BREAKER_OPEN_MS;
  }

  /** A message was written to the receiver's stream and not acknowledged in time. */
  failed(nowMs: number): void {
    this.#failures += 1;
    if (this.#failures < BREAKER_FAILURES) return;
    this.#probe = undefined;
    this.#openUntilMs = nowMs + BREAKER_OPEN_MS;
  }

  /** A message is over, or goes elsewhere. */
  release(message: object): void {
    if (this.#probe !== message) return;
    this.#probe = undefined;
    this.#openUntilMs = 0;
  }

  /** The receiver said a word, or came anew. */
  reset(): void {
    this.#failures = 0;
    this.#probe = undefined;
  }
}
