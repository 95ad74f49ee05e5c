/** How a window back from now is put together from samples and rollups. */
import { type RollupWidth, WIDTH_MS } from "./rollup.ts";

/** A stretch of time that rollups of one width cover; without an end it reaches beyond now. */
export interface RollupStretch {
  readonly width: RollupWidth;
  readonly fromMs: number;
  readonly toMs: number | undefined;
}

/** The parts of a window. They touch each other and do not overlap. */
export interface WindowPlan {
  /** Samples from here to the next full minute are counted one by one. */
  readonly fromMs: number;
  readonly firstMinuteMs: number;
  readonly stretches: readonly RollupStretch[];
}

/** Covers everything since a moment: single samples up to the next full minute, minutes up to the next full hour, hours up to
 * the next day (UTC), and days from there on.
 *
 * There is no upper end: a sample may lie a few minutes ahead and counts as soon as it was stored. So 30 days take at most 59
 * minutes, 23 hours and 31 days: 113 rows for each line of the answer, however many samples there are. */
export function planWindow(fromMs: number): WindowPlan {
  const minute = nextFull("minute", fromMs);
  const hour = nextFull("hour", minute);
  const day = nextFull("day", hour);
  return {
    fromMs,
    firstMinuteMs: minute,
    stretches: [
      { width: "minute", fromMs: minute, toMs: hour },
      { width: "hour", fromMs: hour, toMs: day },
      { width: "day", fromMs: day, toMs: undefined },
    ],
  };
}

function nextFull(width: RollupWidth, atMs: number): number {
  return Math.ceil(atMs / WIDTH_MS[width]) * WIDTH_MS[width];
}
