/** What every campaign is: a load, faults, and a judgement that does not trust the load's own word. */
import type { Bed } from "./_bed.ts";
import type { MeshBed } from "./_mesh-bed.ts";

/** How a campaign is run. */
export interface CampaignOptions {
  /** How long load and faults last; the checks come after. A campaign in rounds ends the one it is in. */
  readonly durationMs: number;
  /** Decides faults and their order. The same seed orders the same faults, not the same interleaving. */
  readonly seed: number;
  /** Ends it before its time, for a campaign of kills that counts them. @default no end but time */
  readonly killsMax?: number;
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

/** One campaign. It leaves the bed as it found it: everything runs. */
export interface Campaign {
  readonly name: string;
  readonly about: string;
  /** Less than this does not show what it is for. */
  readonly shortMs: number;
  play(bed: Bed, options: CampaignOptions): Promise<Verdict>;
}

/** A campaign that brings its own bed. */
export interface LoneCampaign extends Omit<Campaign, "play"> {
  playAlone(options: CampaignOptions): Promise<Verdict>;
}

/** A campaign on messages and shared state. It leaves the bed as it found it: every replica and both stores run, no agent does. */
export interface MeshCampaign extends Omit<Campaign, "play"> {
  playOnMesh(bed: MeshBed, options: CampaignOptions): Promise<Verdict>;
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

/** Plays rounds until the time is over, at least one, and adds their counts up. */
export async function playRounds(
  { durationMs }: CampaignOptions,
  round: (number: number) => Promise<Verdict>,
): Promise<Verdict> {
  const counts: Record<string, number> = { rounds: 0 };
  const problems: string[] = [];
  const endAtMs = performance.now() + durationMs;
  for (let number = 0; number === 0 || performance.now() < endAtMs; number += 1) {
    const verdict = await round(number);
    counts["rounds"] = number + 1;
    for (const [name, count] of Object.entries(verdict.counts)) {
      counts[name] = name.startsWith("slowest")
        ? Math.max(counts[name] ?? 0, count)
        : (counts[name] ?? 0) + count;
    }
    problems.push(...verdict.problems);
    if (problems.length > 0) break;
  }
  return { counts, problems };
}
