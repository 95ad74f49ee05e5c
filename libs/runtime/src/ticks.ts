/** Replicas of a service are started together; their ticks are this far apart at most. */
const PHASE_MAX_MS = 1_000;

interface Tick {
  readonly timer: NodeJS.Timeout;
  readonly due: Set<() => void>;
}

/** Moments at which a process does what it does now and again: all that is due about the same time wakes it up once.
 *
 * Each interval has its ticks at its own multiples, counted from a moment that differs from process to process, so that replicas do not
 * work in step. Ticks of 20 ms and of 1 s fall together once a second. */
export class Ticks {
  readonly #phaseMs: number;
  readonly #ticks = new Map<number, Tick>();

  constructor(phaseMs: number = Math.random() * PHASE_MAX_MS) {
    this.#phaseMs = phaseMs;
  }

  /** Calls `fn` at that tick of the interval which is nearest to a whole interval from now: after half of one to one and a half.
   * Returns what takes it back. */
  next(intervalMs: number, fn: () => void): () => void {
    const nowMs = performance.now() + this.#phaseMs;
    const atMs = Math.round(nowMs / intervalMs + 1) * intervalMs;
    const tick = this.#ticks.get(atMs) ?? this.#open(atMs, atMs - nowMs);
    tick.due.add(fn);
    return () => this.#takeBack(atMs, tick, fn);
  }

  #open(atMs: number, waitMs: number): Tick {
    const run = (): void => {
      this.#ticks.delete(atMs);
      for (const fn of tick.due) fn();
    };
    // Node cuts fractions off; what is early by one would have the next tick of another interval follow it at once.
    const tick: Tick = { timer: setTimeout(run, Math.ceil(waitMs)), due: new Set() };
    this.#ticks.set(atMs, tick);
    return tick;
  }

  #takeBack(atMs: number, tick: Tick, fn: () => void): void {
    tick.due.delete(fn);
    if (tick.due.size > 0 || this.#ticks.get(atMs) !== tick) return;
    clearTimeout(tick.timer);
    this.#ticks.delete(atMs);
  }
}
