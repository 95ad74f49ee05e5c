/** The source of time. Injected wherever time decides something, so tests need no timers. */
export interface Clock {
  /** Milliseconds since the Unix epoch. */
  nowMs(): number;
}

/** The wall clock of this process. Time that decides anything between processes is the database's, not this one. */
export const systemClock: Clock = { nowMs: () => Date.now() };

/** A clock that moves only when told to; for tests of everything that takes a Clock. */
export interface ManualClock extends Clock {
  /** Moves time forward by this many milliseconds. */
  advance(ms: number): void;
  /** Sets the time. */
  set(epochMs: number): void;
}

/** Creates a clock that stands still until advanced. */
export function createManualClock(startMs = 1_700_000_000_000): ManualClock {
  let now = startMs;
  return {
    nowMs: () => now,
    advance(ms) {
      now += ms;
    },
    set(epochMs) {
      now = epochMs;
    },
  };
}
