/** What every campaign is: a load, faults, and a judgement that does not trust the load's own word. */

/** How a campaign is run. */
export interface CampaignOptions {
  /** How long load and faults last; the checks come after. */
  readonly durationMs: number;
  /** Decides faults and their order. The same seed orders the same faults, not the same interleaving. */
  readonly seed: number;
  /** Hears what happens, a line each. */
  readonly progress: (text: string) => void;
}

/** What a campaign found. */
export interface Verdict {
  /** What was done, as counts under readable names. */
  readonly counts: Readonly<Record<string, number>>;
  /** What broke a promise; empty when all held. */
  readonly problems: readonly string[];
}

/** One campaign. */
export interface Campaign {
  readonly name: string;
  readonly about: string;
  run(options: CampaignOptions): Promise<Verdict>;
}

/** Problems for every count that is below its minimum: a run in which little succeeded proves nothing. */
export function belowMinimum(
  counts: Readonly<Record<string, number>>,
  minimums: Readonly<Record<string, number>>,
): string[] {
  return Object.entries(minimums)
    .filter(([name, minimum]) => (counts[name] ?? 0) < minimum)
    .map(([name, minimum]) => `only ${counts[name] ?? 0} ${name}; at least ${minimum} are needed`);
}
