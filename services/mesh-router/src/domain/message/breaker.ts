import { BREAKER_FAILURES, BREAKER_OPEN_MS } from "../limits.ts";

/** Spares senders the wait for a receiver that reads and does not acknowledge. CLOSED, OPEN for a while after several
 * unacknowledged messages in a row, then one probe.   Source: M. Nygard, "Release It!", circuit breaker. */
export class Breaker {
  #failures = 0;
  #openUntilMs = 0;
  #probing = false;

  /** How long a sender should wait; 0 when the message may go. Letting one through in the half-open state makes it the probe. */
  check(nowMs: number): number {
    if (this.#failures < BREAKER_FAILURES) return 0;
    if (nowMs < this.#openUntilMs) return this.#openUntilMs - nowMs;
    if (this.#probing) return BREAKER_OPEN_MS;
    this.#probing = true;
    return 0;
  }

  /** A message was delivered and not acknowledged in time. */
  failed(nowMs: number): void {
    this.#failures += 1;
    this.#probing = false;
    if (this.#failures >= BREAKER_FAILURES) this.#openUntilMs = nowMs + BREAKER_OPEN_MS;
  }

  /** The receiver said a word, or came anew. */
  reset(): void {
    this.#failures = 0;
    this.#probing = false;
  }
}
