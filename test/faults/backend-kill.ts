/** Connections to the database ended at random while jobs are appended. */
import type { Campaign, CampaignOptions } from "./_campaign.ts";
import { endBackends } from "./_faults.ts";
import { playFaults } from "./_nemesis.ts";
import { playUnderAppends } from "./_under-appends.ts";

const CALM_MS = [50, 500] as const;

/** The campaign. */
export const backendKill: Campaign = {
  name: "backend-kill",
  about: "database connections ended at random, whatever they are in the middle of",
  shortMs: 4_000,
  play: (bed, options) =>
    playUnderAppends(bed, options, {
      during: async ({ random, signal }) => {
        let backends = 0;
        const fault = endBackends(bed, (count) => {
          backends += count;
        });
        const { progress } = options;
        const faults = await playFaults(signal, {
          faults: [fault],
          random,
          progress,
          atLeast: fewest(options),
          calmMs: CALM_MS,
        });
        return { faults, backends };
      },
      minimums: { backends: fewest(options) },
    }),
};

function fewest({ durationMs }: CampaignOptions): number {
  return Math.floor(durationMs / 1_000);
}
