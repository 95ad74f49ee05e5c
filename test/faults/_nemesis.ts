/** Faults, one after the other, chosen by a seed. Whatever one of them stops goes on before the next. */
import { sleep } from "@nexus/shared";
import type { Random } from "./_random.ts";

/** Pause between the end of a fault and the next, unless a campaign has another rhythm. */
const CALM_MIN_MS = 300;
const CALM_MAX_MS = 2_000;

/** One kind of fault. */
export interface Fault {
  readonly name: string;
  /** Plays it to its end; everything runs again when it resolves. `say` hears what exactly is done. */
  play(random: Random, say: (what: string) => void): Promise<void>;
}

/** What faults are played, and how. */
export interface NemesisInit {
  readonly faults: readonly [Fault, ...Fault[]];
  readonly random: Random;
  readonly progress: (text: string) => void;
  /** Fewest faults, even when the time is over: a busy machine plays as many, later. */
  readonly atLeast: number;
  /** Shortest and longest pause between two faults. @default [300, 2_000] */
  readonly calmMs?: readonly [number, number];
}

/** Plays faults until the signal aborts, and at least so many; returns how many. */
export async function playFaults(signal: AbortSignal, init: NemesisInit): Promise<number> {
  const { faults, random, progress, atLeast, calmMs = [CALM_MIN_MS, CALM_MAX_MS] } = init;
  // Every kind once, in an order of its own, so that a short run has seen them all; then at random.
  const first = [...faults].sort(() => random.next() - 0.5);
  for (let played = 0; ; played += 1) {
    await sleep(random.between(...calmMs), signal).catch(() => undefined);
    if (signal.aborted && played >= atLeast) return played;
    const fault = first.shift() ?? random.pick(faults);
    await fault.play(random, (what) => progress(`fault ${played + 1}: ${what}`));
  }
}
