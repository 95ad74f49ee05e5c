/** Something that writes what was queued for it during a turn of the event loop. */
export interface Flushable {
  flush(): void;
}

/** Flushes at the end of the current turn of the event loop: everything that many frames queued for one stream in
 * that turn leaves as one frame, and an idle router adds no wait. */
export class TurnScheduler {
  #due: Flushable[] = [];

  add(item: Flushable): void {
    this.#due.push(item);
    if (this.#due.length === 1) setImmediate(() => this.#run());
  }

  #run(): void {
    const due = this.#due;
    this.#due = [];
    for (const item of due) item.flush();
  }
}
