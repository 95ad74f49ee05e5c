/** Jobs appended while orchestrators, router, gateway and agents die, stop, longer than their leases too, and are
 * started anew. */
import type { Campaign, CampaignOptions } from "./_campaign.ts";
import { killAService, pauseAService, restartAService } from "./_faults.ts";
import { playFaults } from "./_nemesis.ts";
import { playUnderAppends } from "./_under-appends.ts";

const FAULTS_PER_SECOND = 0.1;

/** The campaign. */
export const setAppend: Campaign = {
  name: "set-append",
  about: "unique jobs under kills, pauses and restarts; each acknowledged one ends exactly once",
  shortMs: 16_000,
  play: (bed, options) =>
    playUnderAppends(bed, options, {
      during: async ({ random, signal, load }) => {
        const { agents } = bed;
        const { progress } = options;
        const atLeast = fewest(options);
        const faults = [
          killAService(bed),
          pauseAService(bed),
          restartAService(bed),
          agents.kill,
          agents.pause,
        ] as const;
        const played = await playFaults(signal, { faults, random, progress, atLeast });
        return { faults: played, ...(await load.readBatches(bed)) };
      },
      // Else no transaction that a fault met had many in it.
      minimums: {
        faults: fewest(options),
        ...{ "jobs at once": 3, "leased at once": 3, "ended at once": 3 },
      },
    }),
};

function fewest({ durationMs }: CampaignOptions): number {
  return Math.floor((FAULTS_PER_SECOND * durationMs) / 1_000);
}
