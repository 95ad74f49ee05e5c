/** How soon a process that died is started again, and when to stop trying. Pure. */

const FIRST_DELAY_MS = 100;
const DELAY_MAX_MS = 5_000;
/** A process that lived this long starts over with the first delay. */
const HEALTHY_AFTER_MS = 10_000;
const WINDOW_MS = 60_000;
/** Most deaths within the window: one more, and the process is given up. */
export const DEATHS_MAX = 10;

/** Decides about one process. */
export interface RestartPolicy {
  /** Takes note of a death; returns the delay before the next start, or undefined to give up. */
  delayAfterDeath(death: {
    readonly startedAtMs: number;
    readonly diedAtMs: number;
  }): number | undefined;
}

/** Creates the policy of one process: 100 ms, doubling to 5 s while it keeps dying young, at most 10 deaths a minute. */
export function createRestartPolicy(): RestartPolicy {
  let deaths: number[] = [];
  let young = 0;
  return {
    delayAfterDeath: ({ startedAtMs, diedAtMs }) => {
      deaths = [...deaths.filter((at) => diedAtMs - at < WINDOW_MS), diedAtMs];
      if (deaths.length > DEATHS_MAX) return undefined;
      young = diedAtMs - startedAtMs >= HEALTHY_AFTER_MS ? 0 : young + 1;
      return Math.min(FIRST_DELAY_MS * 2 ** Math.max(0, young - 1), DELAY_MAX_MS);
    },
  };
}
