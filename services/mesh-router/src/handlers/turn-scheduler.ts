import { LATER_MAX_MS } from "../domain/limits.ts";

/** Something that writes what was queued for it during a turn of the event loop. */
export interface Flushable {
  flush(): void;
}

/** Flushes at the end of the current turn of the event loop: everything that many frames queued for one stream in
 * that turn leaves as one frame, and an idle router adds no wait. */
export class TurnScheduler {
  #due: Flushable[] = [];
  #later = new Set<Flushable>();

  add(item: Flushable): void {
    this.#due.push(item);
    if (this.#due.length === 1) setImmediate(() => this.#run());
  }

  /** As add(), for what nobody waits for: within LATER_MAX_MS. One timer for all streams. */
  addLater(item: Flushable): void {
    if (this.#later.size === 0) setTimeout(() => this.#runLater(), LATER_MAX_MS);
    this.#later.add(item);
  }

  #run(): void {
    const due = this.#due;
    this.#due = [];
    for (const item of due) item.flush();
  }

  #runLater(): void {
    const due = this.#later;
    this.#later = new Set();
    for (const item of due) item.flush();
  }
}
