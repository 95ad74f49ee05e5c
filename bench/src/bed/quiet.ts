/** Waits until what was started before has ended: vacuum, checkpoints, outcomes on their way. */
import { setTimeout as wait } from "node:timers/promises";
import { monotonicMs } from "../machine-clock.ts";

/** Of one core; a stack at rest uses about a tenth. */
const QUIET_CORES = 0.25;
const POLL_MS = 500;

/** What to watch. */
export interface QuietOptions {
  /** CPU seconds that everything of interest has used; undefined where nobody can say. */
  readonly cpuSeconds: () => Promise<number | undefined>;
  /** Measures under what is left of the noise after this. */
  readonly timeoutMs: number;
  /** @default 500 */
  readonly pollMs?: number;
}

/** Resolves when less than a quarter of a core was used between two looks, or when the time is up; says which. */
export async function untilQuiet(options: QuietOptions): Promise<"quiet" | "gave up"> {
  const { cpuSeconds, timeoutMs, pollMs = POLL_MS } = options;
  const giveUpAtMs = monotonicMs() + timeoutMs;
  let last = { used: await cpuSeconds(), atMs: monotonicMs() };
  while (monotonicMs() < giveUpAtMs) {
    await wait(pollMs);
    const now = { used: await cpuSeconds(), atMs: monotonicMs() };
    if (now.used !== undefined && last.used !== undefined) {
      const cores = (now.used - last.used) / ((now.atMs - last.atMs) / 1_000);
      if (cores < QUIET_CORES) return "quiet";
    }
    last = now;
  }
  return "gave up";
}
