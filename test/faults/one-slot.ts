/** Three orchestrators with tasks for one agent with one slot: each of them gets its turn, until all is done. */
import { JobState } from "@nexus/sdk";
import { submitTasks, waitForEnd } from "../e2e/_fleet.ts";
import { LIVENESS_MS, ORCHESTRATORS, ownerOf } from "./_bed.ts";
import { belowMinimum, type Campaign, playRounds } from "./_campaign.ts";

const CAPABILITY = "single.wait";
const JOBS_EACH = 6;
const TASK_MS = 30;

/** The campaign. */
export const oneSlot: Campaign = {
  name: "one-slot",
  about: "an agent with one slot serves every orchestrator that has tasks for it",
  shortMs: 0,
  play: async (bed, options) => {
    const { client } = await bed.fleet.createUser();
    const agent = await bed.spawn("single-1", 1, { capability: CAPABILITY });
    const clients = await Promise.all(ORCHESTRATORS.map((name) => bed.clientOf(name, client)));
    try {
      const { counts, problems } = await playRounds(options, async () => {
        const submitters = clients.flatMap((one) => Array.from({ length: JOBS_EACH }, () => one));
        const jobIds = await Promise.all(
          submitters.map((one, index) =>
            submitTasks(one, [
              { key: `t${index}`, capability: CAPABILITY, input: { ms: TASK_MS } },
            ]),
          ),
        );
        const owners = new Set(await Promise.all(jobIds.map((jobId) => ownerOf(bed, jobId))));
        const jobs = await Promise.all(jobIds.map((id) => waitForEnd(client, id, LIVENESS_MS)));
        const completed = jobs.filter(({ state }) => state === JobState.COMPLETED).length;
        return { counts: { completed, owners: owners.size }, problems: [] };
      });
      const minimums = { completed: ORCHESTRATORS.length * JOBS_EACH, owners: 3 };
      return { counts, problems: [...belowMinimum(counts, minimums), ...problems] };
    } finally {
      agent.child.kill("SIGKILL");
    }
  },
};
