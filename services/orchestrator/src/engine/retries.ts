/** Tries classes again that an agent which changed was not compared with, as it can only be with some at once: soon, and so many at
 * a time that those for which there is nobody cost little. */

import type { Lane } from "./lane.ts";
import type { EngineParts } from "./parts.ts";

/** Time between two steps. */
const STEP_MS = 50;
/** What a step tries at most: each class is a search that may look at every open agent of the lane. */
const STEP = { classes: 256, looks: 8_192 };

/** How many classes of a lane may be tried at a time, one at least. */
export function retriesFor(
  openAgents: number,
  most: { readonly classes: number; readonly looks: number },
): number {
  return Math.max(1, Math.min(most.classes, Math.floor(most.looks / Math.max(1, openAgents))));
}

/** Owns which lanes have classes that are to be tried. */
export class Retries {
  readonly #parts: Pick<EngineParts, "fleet" | "queue">;
  readonly #wake: (lane: Lane) => void;
  /** How many classes of a lane are left; the lane whose turn it is comes first. */
  readonly #left = new Map<string, number>();
  #timer: NodeJS.Timeout | undefined;

  constructor(parts: Pick<EngineParts, "fleet" | "queue">, wake: (lane: Lane) => void) {
    this.#parts = parts;
    this.#wake = wake;
  }

  /** Tries all classes of a lane that are set aside, by and by. */
  add(lane: Lane): void {
    this.#left.set(lane.key, lane.aside);
    this.#timer ??= setTimeout(() => this.#step(), STEP_MS);
  }

  /** Tries nothing any more. */
  clear(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#left.clear();
  }

  #step(): void {
    const { fleet, queue } = this.#parts;
    for (const [key, left] of this.#left) {
      this.#left.delete(key);
      const lane = queue.lane(key);
      const openAgents = fleet.countOpen(key);
      // Where nobody is open any more, the next one that is begins anew.
      if (lane === undefined || openAgents === 0) continue;
      const tries = Math.min(left, retriesFor(openAgents, STEP));
      lane.reopenSome(tries);
      if (left > tries) this.#left.set(key, left - tries);
      this.#wake(lane);
      break;
    }
    this.#timer = this.#left.size === 0 ? undefined : setTimeout(() => this.#step(), STEP_MS);
  }
}
