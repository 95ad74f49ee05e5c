/** Counts refusals of callers that were not let in, so that a flood of them is a few entries a second.
 *
 * The first of a kind is entered at once. Those that follow within the window are counted, and entered together at its end.
 * Kinds are told apart up to a number; beyond it they are counted by their action and reason only. */

/** A refusal, as it is told apart from others. */
export interface Denial {
  readonly action: string;
  readonly reason: string;
  /** Who, from where, on what. */
  readonly detail: string;
}

/** What is to be done about a refusal. */
export type DenialVerdict = "enter" | "counted";

/** Refusals of one kind that were counted in a window. */
export interface CountedDenial<E> {
  readonly key: string;
  readonly count: number;
  readonly entry: E;
}

interface Counted<E> {
  count: number;
  readonly entry: E;
}

/** Kinds of refusal that have an entry of their own in one window. */
const KINDS_MAX = 64;

/** The counter of one process. Shape: E is whatever the counted entry is written from. */
export class DenialCounter<E> {
  readonly #entered = new Set<string>();
  #counted = new Map<string, Counted<E>>();

  /** Notes a refusal. `counted`: it will be in what takeCounted() returns. */
  note({ action, reason, detail }: Denial, entry: E): DenialVerdict {
    const kind = `${action}\n${reason}\n${detail}`;
    if (!this.#entered.has(kind) && this.#entered.size < KINDS_MAX) {
      this.#entered.add(kind);
      return "enter";
    }
    const key = this.#entered.has(kind) ? kind : `${action}\n${reason}`;
    const counted = this.#counted.get(key) ?? { count: 0, entry };
    counted.count++;
    this.#counted.set(key, counted);
    return "counted";
  }

  /** Ends the window: returns what was counted, and enters the next of each kind at once again. */
  takeCounted(): readonly CountedDenial<E>[] {
    const counted = [...this.#counted].map(([key, { count, entry }]) => ({ key, count, entry }));
    this.#counted = new Map();
    this.#entered.clear();
    return counted;
  }

  /** Counts once more what was taken and could not be entered. */
  putBack(denials: readonly CountedDenial<E>[]): void {
    for (const { key, count, entry } of denials) {
      const counted = this.#counted.get(key);
      if (counted !== undefined) counted.count += count;
      else this.#counted.set(key, { count, entry });
    }
  }
}
