import { WHEEL_SLOTS, WHEEL_TICK_MS } from "../limits.ts";

/** Where an item of a wheel hangs; nobody but the wheel looks at it. */
class Link {
  previous: Link = this;
  next: Link = this;

  get isLinked(): boolean {
    return this.next !== this;
  }

  unlink(): void {
    this.previous.next = this.next;
    this.next.previous = this.previous;
    this.previous = this;
    this.next = this;
  }

  /** Puts an item at the end of the list that begins here. */
  append(item: Link): void {
    item.previous = this.previous;
    item.next = this;
    this.previous.next = item;
    this.previous = item;
  }
}

/** Anything that ends at a time which never changes while it is in a wheel; it can be in one. */
export abstract class Expiring extends Link {
  abstract readonly expiresAtMs: number;
}

/** Deadlines of very many short-lived items with one timer: O(1) to add and to remove, without looking anything up: items are links of
 * their slot's list.
 *
 * Items further away than one turn share a slot with nearer ones and are looked at once a turn.
 * Source: Varghese and Lauck 1987, scheme 6 (hashed timing wheel with unsorted lists). */
export class DeadlineWheel<T extends Expiring> {
  readonly #slots: Link[] = Array.from({ length: WHEEL_SLOTS }, () => new Link());
  #tick: number;
  #size = 0;

  constructor(nowMs: number) {
    this.#tick = tickOf(nowMs);
  }

  get size(): number {
    return this.#size;
  }

  add(item: T): void {
    if (item.isLinked) return;
    // A deadline already passed goes where the next expire() looks first.
    const tick = Math.max(tickOf(item.expiresAtMs), this.#tick);
    this.#slot(tick).append(item);
    this.#size += 1;
  }

  /** Forgets an item. Idempotent. */
  delete(item: T): void {
    if (!item.isLinked) return;
    item.unlink();
    this.#size -= 1;
  }

  /** Shows everything, in no order. */
  forEach(show: (item: T) => void): void {
    if (this.#size === 0) return;
    for (const slot of this.#slots) {
      for (let link = slot.next; link !== slot; link = link.next) show(link as T);
    }
  }

  /** Removes and returns everything whose time has come. */
  expire(nowMs: number): T[] {
    const due: T[] = [];
    const last = tickOf(nowMs);
    const first = Math.max(this.#tick, last - WHEEL_SLOTS + 1);
    for (let tick = first; tick <= last; tick += 1) {
      const slot = this.#slot(tick);
      for (let link = slot.next; link !== slot; ) {
        const item = link as T;
        link = link.next;
        if (item.expiresAtMs > nowMs) continue;
        item.unlink();
        due.push(item);
      }
    }
    this.#tick = Math.max(this.#tick, last);
    this.#size -= due.length;
    return due;
  }

  #slot(tick: number): Link {
    return this.#slots[tick & (WHEEL_SLOTS - 1)] as Link;
  }
}

function tickOf(atMs: number): number {
  return Math.floor(atMs / WHEEL_TICK_MS);
}
