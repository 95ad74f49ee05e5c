import { WHEEL_SLOTS, WHEEL_TICK_MS } from "../limits.ts";

/** Anything that ends at a time which never changes. */
export interface Expiring {
  readonly expiresAtMs: number;
}

/** Deadlines of very many short-lived items with one timer: O(1) to add and to remove.
 *
 * Items further away than one turn share a slot with nearer ones and are looked at once a turn.
 * Source: Varghese and Lauck 1987, scheme 6 (hashed timing wheel with unsorted lists). */
export class DeadlineWheel<T extends Expiring> {
  readonly #slots: Set<T>[] = Array.from({ length: WHEEL_SLOTS }, () => new Set<T>());
  #tick: number;
  #size = 0;

  constructor(nowMs: number) {
    this.#tick = tickOf(nowMs);
  }

  get size(): number {
    return this.#size;
  }

  add(item: T): void {
    // A deadline already passed goes where the next expire() looks first.
    const tick = Math.max(tickOf(item.expiresAtMs), this.#tick);
    this.#slot(tick).add(item);
    this.#size += 1;
  }

  /** Forgets an item. Idempotent. */
  delete(item: T): void {
    const removed =
      this.#slot(tickOf(item.expiresAtMs)).delete(item) || this.#slot(this.#tick).delete(item);
    if (removed) this.#size -= 1;
  }

  /** Removes and returns everything whose time has come. */
  expire(nowMs: number): T[] {
    const due: T[] = [];
    const last = tickOf(nowMs);
    const first = Math.max(this.#tick, last - WHEEL_SLOTS + 1);
    for (let tick = first; tick <= last; tick += 1) {
      const slot = this.#slot(tick);
      for (const item of slot) {
        if (item.expiresAtMs > nowMs) continue;
        slot.delete(item);
        due.push(item);
      }
    }
    this.#tick = Math.max(this.#tick, last);
    this.#size -= due.length;
    return due;
  }

  #slot(tick: number): Set<T> {
    return this.#slots[tick & (WHEEL_SLOTS - 1)] as Set<T>;
  }
}

function tickOf(atMs: number): number {
  return Math.floor(atMs / WHEEL_TICK_MS);
}
