/** What a scenario is, and words that all of them use. */
import type { Bed } from "../bed/bed.ts";
import type { Figure, FigureKey } from "../figure.ts";
import type { Stretch } from "../pace.ts";
import { formatCount } from "../report.ts";

/** A part of a scenario: puts load on the bed and says what was measured. */
export type Step = (bed: Bed) => Promise<readonly Figure[]>;

/** One kind of load and what is measured under it. */
export interface Scenario {
  readonly name: string;
  /** One line for the help text. */
  readonly about: string;
  /** Measures what must be measured before any load. */
  readonly before?: Step;
  readonly run: Step;
  /** What comes after run, one after the other; each is tried, whatever became of those before. */
  readonly further?: readonly Step[];
  /** The scenario that has this one among its own steps: where both are wanted, it is measured there. */
  readonly partOf?: string;
  /** Processes of the mesh-router; scenarios with another number of them have another stack. @default 1 */
  readonly meshRouters?: number;
  /** The heap of each service of its stack, in MiB, at least. @default SERVICE_HEAP_MIB */
  readonly heapMib?: number;
  /** Says why it cannot be measured on this machine, which is no failure; undefined when it can. */
  readonly obstacle?: () => string | undefined;
  /** What it would have measured. Given by who has an obstacle. */
  readonly keys?: readonly FigureKey[];
}

/** What needs no stack, and so starts none. */
export interface LoneScenario {
  readonly name: string;
  /** One line for the help text. */
  readonly about: string;
  readonly measure: (quick: boolean) => Promise<readonly Figure[]>;
}

/** Long enough that some of everything is done, on a busy machine too. */
const QUICK: Stretch = { warmUpMs: 50, measureMs: 500 };

/** How much is in flight: a tenth in a quick run, so that the first of it is done within its stretch. */
export function windowOf(bed: Bed, full: number): number {
  return bed.quick ? full / 10 : full;
}

/** How long this run warms up and measures. */
export function stretchOf(bed: Bed, full: Stretch, quick = QUICK): Stretch {
  return bed.quick ? quick : full;
}

/** Says how long something was measured: `20 s`. */
export function seconds(ms: number): string {
  return `${Number((ms / 1_000).toFixed(1))} s`;
}

/** Says what was asked of the system and not done; empty when everything was. Belongs into the load of a figure: a
 * latency under a rate that was not sustained is another latency. */
export function shortfall(result: {
  readonly failed: number;
  readonly failure: string | undefined;
  readonly leftOut?: number;
}): string {
  const { failed, failure, leftOut = 0 } = result;
  const parts = [
    ...(leftOut === 0 ? [] : [`NOT SUSTAINED: ${formatCount(leftOut)} left out`]),
    ...(failed === 0 ? [] : [`${formatCount(failed)} FAILED, first: ${failure ?? "?"}`]),
  ];
  return parts.map((part) => `; ${part}`).join("");
}
