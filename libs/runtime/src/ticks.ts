/** As long as the longest interval: whatever the interval, replicas that start together have their ticks at different moments. */
const PHASE_MAX_MS = 3_600_000;

interface Tick {
  readonly due: Set<() => void>;
  timer: NodeJS.Timeout;
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

  /** Calls `fn` at the interval's next tick, after one interval at most. Returns what takes it back. */
  next(intervalMs: number, fn: () => void): () => void {
    const atMs = Math.floor(this.#nowMs() / intervalMs + 1) * intervalMs;
    const tick = this.#ticks.get(atMs) ?? this.#open(atMs);
    tick.due.add(fn);
    return () => this.#takeBack(atMs, tick, fn);
  }

  #nowMs(): number {
    return performance.now() + this.#phaseMs;
  }

  #open(atMs: number): Tick {
    const wait = (): NodeJS.Timeout => setTimeout(run, Math.ceil(atMs - this.#nowMs()));
    const run = (): void => {
      // Node counts from the beginning of a turn of the event loop: a timer set late in a long one is early.
      if (this.#nowMs() < atMs) {
        tick.timer = wait();
        return;
      }
      this.#ticks.delete(atMs);
      for (const fn of tick.due) fn();
    };
    const tick: Tick = { due: new Set(), timer: wait() };
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
