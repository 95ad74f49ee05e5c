/** Agents whose clocks are five minutes off, one early and one late, work as if they were right. */
import { type Duration, durationFromMs } from "@bufbuild/protobuf/wkt";
import { JobState, type NexusClient } from "@nexus/sdk";
import { submitTasks, waitForEnd } from "../e2e/_fleet.ts";
import { type Bed, LIVENESS_MS, uuidOf } from "./_bed.ts";
import { belowMinimum, type Campaign, playRounds, type Verdict } from "./_campaign.ts";

const CAPABILITY = "skewed.wait";
const SKEW_MS = 300_000;
const SLOTS = 2;
const TASKS = 40;
const TASK_MS = 40;
/** Far below the skew: whoever compared an agent's clock with another would end the attempt. */
const TIMEOUT: Duration = durationFromMs(60_000);

/** The campaign. */
export const clockSkew: Campaign = {
  name: "clock-skew",
  about: "agents with clocks five minutes off do every task at the first attempt",
  shortMs: 0,
  play: async (bed, options) => {
    const { client } = await bed.fleet.createUser();
    const agents = await Promise.all([
      bed.spawn("early-1", SLOTS, { capability: CAPABILITY, clockSkewMs: SKEW_MS }),
      bed.spawn("late-1", SLOTS, { capability: CAPABILITY, clockSkewMs: -SKEW_MS }),
    ]);
    try {
      const { counts, problems } = await playRounds(options, () => workSkewed(bed, client));
      const minimums = { "by early": 1, "by late": 1 };
      return { counts, problems: [...belowMinimum(counts, minimums), ...problems] };
    } finally {
      for (const { child } of agents) child.kill("SIGKILL");
    }
  },
};

async function workSkewed(bed: Bed, client: NexusClient): Promise<Verdict> {
  const tasks = Array.from({ length: TASKS }, (_, index) => ({
    key: `t${index}`,
    capability: CAPABILITY,
    input: { ms: TASK_MS },
    startToCloseTimeout: TIMEOUT,
    scheduleToStartTimeout: TIMEOUT,
  }));
  const jobId = await submitTasks(client, tasks);
  const { state } = await waitForEnd(client, jobId, LIVENESS_MS);
  const { rows } = await bed.tables.query<{ agent: string; outcome: string; n: number }>(
    `SELECT split_part(a.agent_id, '-', 1) AS agent, a.outcome, count(*)::int AS n
       FROM attempts a JOIN tasks t USING (task_id) WHERE t.job_id = $1 GROUP BY 1, 2`,
    [uuidOf(jobId)],
  );
  const problems = rows
    .filter(({ outcome }) => outcome !== "SUCCEEDED")
    .map(({ agent, outcome, n }) => `${n} attempts by ${agent} ended as ${outcome}`);
  if (state !== JobState.COMPLETED) problems.push(`the job ended as ${JobState[state]}`);
  const by = Object.fromEntries(rows.map(({ agent, n }) => [`by ${agent}`, n]));
  return { counts: by, problems };
}
