/** Connections to the database ended at random while jobs are appended, and statements on those that are left. */
import type { Campaign, CampaignOptions } from "./_campaign.ts";
import { cancelStatements, endBackends } from "./_faults.ts";
import { playFaults } from "./_nemesis.ts";
import { playUnderAppends } from "./_under-appends.ts";

const CALM_MS = [50, 500] as const;

/** The campaign. */
export const backendKill: Campaign = {
  name: "backend-kill",
  about: "database connections and statements ended at random, whatever they are in the middle of",
  shortMs: 4_000,
  play: (bed, options) =>
    playUnderAppends(bed, options, {
      during: async ({ random, signal }) => {
        let backends = 0;
        let statements = 0;
        const end = endBackends(bed, (count) => {
          backends += count;
        });
        const cancel = cancelStatements(bed, (count) => {
          statements += count;
        });
        const { progress } = options;
        const faults = await playFaults(signal, {
          faults: [end, cancel],
          random,
          progress,
          atLeast: fewest(options),
          calmMs: CALM_MS,
        });
        return { faults, backends, statements };
      },
      minimums: { backends: fewest(options), statements: 1 },
    }),
};

function fewest({ durationMs }: CampaignOptions): number {
  return Math.floor(durationMs / 1_000);
}
