import { NexusError } from "@nexus/shared";
import type { Flushable, TurnScheduler } from "./turn-scheduler.ts";

interface Waiting<T> {
  readonly take: () => T | undefined;
  readonly resolve: (frame: T | undefined) => void;
  readonly reject: (error: NexusError) => void;
}

/** The writing half of a stream: frames are taken from a queue only when the transport has room for one, so what is
 * queued meanwhile joins the next frame. */
export class FrameStream<T> implements Flushable {
  readonly #turns: TurnScheduler;
  readonly #onFail: () => void;
  #waiting: Waiting<T> | undefined;
  #scheduled = false;
  #finished = false;
  #error: NexusError | undefined;

  /** `onFail` runs soon after fail(), also while the transport is stuck with a peer that does not read: what the
   * stream stood for must not wait until such a peer moves. */
  constructor(turns: TurnScheduler, onFail: () => void) {
    this.#turns = turns;
    this.#onFail = onFail;
  }

  /** True once the stream ends or is about to. */
  get ending(): boolean {
    return this.#finished || this.#error !== undefined;
  }

  /** True once nothing more will be queued for it. */
  get isOver(): boolean {
    return this.#error !== undefined || this.#isDone;
  }

  /** True while something else will be queued that a finishing stream waits for. */
  protected get isHeldOpen(): boolean {
    return false;
  }

  get #isDone(): boolean {
    return this.#finished && !this.isHeldOpen;
  }

  /** Resolves with the next frame, or undefined after finish() once nothing waits; rejects after fail(). */
  next(take: () => T | undefined): Promise<T | undefined> {
    if (this.#error !== undefined) return Promise.reject(this.#error);
    const frame = take();
    if (frame !== undefined || this.#isDone) return Promise.resolve(frame);
    return new Promise((resolve, reject) => {
      this.#waiting = { take, resolve, reject };
    });
  }

  /** Something was queued. */
  wake(): void {
    if (this.#scheduled || this.#waiting === undefined) return;
    this.#scheduled = true;
    this.#turns.add(this);
  }

  /** Ends the stream at once. The first error counts. */
  fail(error: NexusError): void {
    if (this.#error !== undefined) return;
    this.#error = error;
    // Not at once: fail() is called from the midst of what onFail undoes.
    queueMicrotask(this.#onFail);
    const waiting = this.#waiting;
    this.#waiting = undefined;
    waiting?.reject(error);
  }

  /** Ends the stream once nothing waits any more. */
  finish(): void {
    this.#finished = true;
    this.flush();
  }

  flush(): void {
    this.#scheduled = false;
    const waiting = this.#waiting;
    if (waiting === undefined) return;
    try {
      const frame = waiting.take();
      if (frame === undefined && !this.#isDone) return;
      this.#waiting = undefined;
      waiting.resolve(frame);
    } catch (error) {
      this.fail(NexusError.from(error));
    }
  }
}

type Endable = Pick<FrameStream<unknown>, "fail" | "finish">;

/** Ends the stream when its call does: a planned end lets the queue be written first. Returns what stops. */
export function followCall(signal: AbortSignal, stream: Endable): () => void {
  const onAbort = (): void => {
    const reason = NexusError.from(signal.reason);
    if (NexusError.isPlannedEnd(reason)) stream.finish();
    else stream.fail(reason);
  };
  if (signal.aborted) onAbort();
  else signal.addEventListener("abort", onAbort, { once: true });
  return () => signal.removeEventListener("abort", onAbort);
}
