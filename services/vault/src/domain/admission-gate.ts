import { NexusError } from "@nexus/shared";
import { loginBusy } from "./errors.ts";

/** What an AdmissionGate needs. */
export interface AdmissionGateOptions {
  /** Works that may run at once. */
  readonly concurrency: number;
  /** Works that may wait for their turn. */
  readonly queueMax: number;
  /** A guess of one work's time, in milliseconds, until one was measured. */
  readonly expectedMs: number;
  /** A clock for durations, in milliseconds. */
  readonly nowMs: () => number;
}

interface Waiter {
  admit(): void;
  leave(reason: unknown): void;
}

/** The weight of the newest duration in the running mean. */
const MEAN_WEIGHT = 0.2;

/** Lets a few expensive works run at once and a bounded number wait in order.
 *
 * A password hash costs a third of a second of a core, so unbounded logins would take the service down with no
 * exploit at all. Beyond the queue the answer is immediate: exhausted/LOGIN_BUSY with the time a retry should wait.
 * A caller that leaves frees its place in the queue; its work, once begun, runs to its end. */
export class AdmissionGate {
  readonly #options: AdmissionGateOptions;
  readonly #waiting: Waiter[] = [];
  #running = 0;
  #meanMs: number;

  constructor(options: AdmissionGateOptions) {
    this.#options = options;
    this.#meanMs = options.expectedMs;
  }

  /** Works running now. */
  get running(): number {
    return this.#running;
  }

  /** Works waiting now. */
  get queued(): number {
    return this.#waiting.length;
  }

  /** Runs the work when its turn comes.
   *
   * Errors: exhausted/LOGIN_BUSY when the queue is full; the signal's reason when it aborts before the turn. */
  async run<T>(work: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    await this.#enter(signal);
    const startedMs = this.#options.nowMs();
    try {
      return await work();
    } finally {
      this.#learn(this.#options.nowMs() - startedMs);
      this.#leave();
    }
  }

  async #enter(signal: AbortSignal | undefined): Promise<void> {
    if (this.#running < this.#options.concurrency) {
      this.#running++;
      return;
    }
    if (this.#waiting.length >= this.#options.queueMax) throw loginBusy(this.#retryAfterMs());
    await this.#wait(signal);
  }

  #wait(signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve, reject) => {
      const onAbort = () => {
        this.#waiting.splice(this.#waiting.indexOf(waiter), 1);
        waiter.leave(signal?.reason);
      };
      const waiter: Waiter = {
        admit() {
          signal?.removeEventListener("abort", onAbort);
          resolve();
        },
        leave: (reason) => reject(NexusError.from(reason)),
      };
      this.#waiting.push(waiter);
      if (signal?.aborted === true) onAbort();
      else signal?.addEventListener("abort", onAbort, { once: true });
    });
  }

  /** Hands the place on, so that nobody who comes now overtakes the queue. */
  #leave(): void {
    const next = this.#waiting.shift();
    if (next === undefined) this.#running--;
    else next.admit();
  }

  #learn(durationMs: number): void {
    this.#meanMs += (durationMs - this.#meanMs) * MEAN_WEIGHT;
  }

  /** The time in which half of the queue will have been served. */
  #retryAfterMs(): number {
    const rounds = Math.ceil(this.#waiting.length / this.#options.concurrency / 2);
    return Math.ceil(Math.max(1, rounds) * this.#meanMs);
  }
}
