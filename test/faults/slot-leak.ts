/** Agents killed with their slots full: at rest no slot is taken, and all of them can be used again. */
import { randomUUID } from "node:crypto";
import { waitFor } from "@nexus/testkit";
import { submitTasks } from "../e2e/_fleet.ts";
import { AGENTS, SLOTS_EACH, SLOTS_IN_ALL } from "./_agents.ts";
import { LIVENESS_MS, ORCHESTRATORS, readMetric, uuidOf } from "./_bed.ts";
import type { Campaign } from "./_campaign.ts";
import { playFaults } from "./_nemesis.ts";
import { playUnderAppends, type UnderAppends } from "./_under-appends.ts";

const KILLS_MIN = 2;
const CALM_MS = [200, 1_500] as const;
const LEASES = "nexus_orchestrator_leases";
const TASK_MS = 600_000;

/** The campaign. */
export const slotLeak: Campaign = {
  name: "slot-leak",
  about: "agents killed at random; at rest no slot is taken and all of them work",
  shortMs: 5_000,
  play: (bed, options) =>
    playUnderAppends(bed, options, {
      during: async ({ random, signal }) => {
        const { progress } = options;
        const faults = [bed.agents.kill] as const;
        const kills = await playFaults(signal, {
          faults,
          random,
          progress,
          atLeast: KILLS_MIN,
          calmMs: CALM_MS,
        });
        return { kills };
      },
      after: async (under) => [
        ...(await findTaken(under)),
        ...(await findUnusable(under, SLOTS_IN_ALL, 1)),
        // Each of these takes all slots of an agent, and finds none that a task of several slots has left taken.
        ...(await findUnusable(under, AGENTS, SLOTS_EACH)),
      ],
      minimums: { kills: KILLS_MIN },
    }),
};

/** At rest: no lease in the tables, and none in the memory of any orchestrator. */
async function findTaken({ bed }: UnderAppends): Promise<string[]> {
  const problems: string[] = [];
  const { rows } = await bed.tables.query<{ n: number }>("SELECT count(*)::int AS n FROM leases");
  if (rows[0]?.n !== 0) problems.push(`${rows[0]?.n} leases are left in the tables at rest`);
  for (const name of ORCHESTRATORS) {
    await waitFor(async () => (await readMetric(bed, name, LEASES)) === 0, {
      timeoutMs: LIVENESS_MS,
      what: `${name} to hold no lease at rest`,
    }).catch((error: unknown) => problems.push(String(error)));
  }
  return problems;
}

/** As many tasks as there is room for run at the same moment. They are cancelled, so that nobody waits for them. */
async function findUnusable(
  { bed, client }: UnderAppends,
  count: number,
  slotCost: number,
): Promise<string[]> {
  const tasks = Array.from({ length: count }, (_, index) => ({
    key: `t${index}`,
    capability: "work.wait",
    input: { ms: TASK_MS, obey: true },
    slotCost,
  }));
  const jobId = await submitTasks(client, tasks);
  const running = async () => {
    const text = `SELECT count(*)::int AS n FROM task_states WHERE job_id = $1 AND state = 'RUNNING'`;
    const { rows } = await bed.tables.query<{ n: number }>(text, [uuidOf(jobId)]);
    return rows[0]?.n === count;
  };
  const problems: string[] = [];
  await waitFor(running, {
    timeoutMs: LIVENESS_MS,
    what: `${count} tasks of ${slotCost} slots to run at once`,
  }).catch((error: unknown) => problems.push(String(error)));
  await client.jobs.cancelJob({ requestId: randomUUID(), jobId });
  return problems;
}
