/** How fast something drains, from looks at a count that only grows. Costs nothing between looks. */

/** Looks closer together than this are one. */
const LOOK_INTERVAL_MS = 1_000;
/** Looks older than this say nothing of now. */
const LOOK_AGE_MAX_MS = 30_000;

interface Look {
  readonly atMs: number;
  readonly count: number;
}

/** Owns the last looks at one count. Time is passed in, monotonic milliseconds. */
export class DrainMeter {
  #looks: Look[] = [];

  /** Looks at the count and returns how much it grows in a second; undefined while that cannot be said. */
  look(count: number, atMs: number): number | undefined {
    this.#looks = this.#looks.filter(
      (look) => atMs - look.atMs <= LOOK_AGE_MAX_MS && look.count <= count,
    );
    const last = this.#looks.at(-1);
    if (last === undefined || atMs - last.atMs >= LOOK_INTERVAL_MS) {
      this.#looks.push({ atMs, count });
    }
    const first = this.#looks[0];
    if (first === undefined || atMs - first.atMs < LOOK_INTERVAL_MS) return undefined;
    return ((count - first.count) / (atMs - first.atMs)) * 1_000;
  }
}
