/** A soak with cancellations and agents that come and go: the tables add up at every moment. */
import { randomUUID } from "node:crypto";
import type { Campaign } from "./_campaign.ts";
import type { Fault } from "./_nemesis.ts";
import { playFaults } from "./_nemesis.ts";
import { playUnderAppends, type UnderAppends } from "./_under-appends.ts";

const FAULTS_MIN = 3;
const CALM_MS = [100, 600] as const;

/** The campaign. */
export const conservation: Campaign = {
  name: "conservation",
  about: "submitted = blocked + ready + leased + ended in every snapshot of the tables",
  shortMs: 4_000,
  play: (bed, options) =>
    playUnderAppends(bed, options, {
      during: async (under) => {
        const { random, signal } = under;
        const faults = [cancelAJob(under), cancelAJob(under), bed.agents.kill] as const;
        const { progress } = options;
        const played = await playFaults(signal, {
          faults,
          random,
          progress,
          atLeast: FAULTS_MIN,
          calmMs: CALM_MS,
        });
        return { faults: played };
      },
      minimums: { faults: FAULTS_MIN, checks: 2 },
    }),
};

/** The newest job is the one most likely still open. */
function cancelAJob({ client, load }: UnderAppends): Fault {
  return {
    name: "cancel a job",
    play: async (_random, say) => {
      const jobId = load.jobIds.at(-1);
      if (jobId === undefined) return;
      say(`cancels ${jobId}`);
      // One that has just ended is none to cancel.
      await client.jobs.cancelJob({ requestId: randomUUID(), jobId }).catch(() => undefined);
    },
  };
}
