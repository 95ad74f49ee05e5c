/** A job cancelled through every orchestrator in turn: the agent is told to stop, whoever owns the job. */
import { randomUUID } from "node:crypto";
import { JobState, type NexusClient } from "@nexus/sdk";
import { waitFor } from "@nexus/testkit";
import { submitTasks, waitForEnd } from "../e2e/_fleet.ts";
import { type Bed, type BedAgent, LIVENESS_MS, ORCHESTRATORS, ownerOf } from "./_bed.ts";
import { belowMinimum, type Campaign, playRounds, type Verdict } from "./_campaign.ts";

const CAPABILITY = "cancelled.wait";
const TASK_MS = 600_000;
/** In which a cancel reaches the agent, half of the time at least; or, where the machine is busy, in this many times what the way to
 * the agent takes in the same moments. */
const STOP_MS = 1_000;
const WAYS_MAX = 3;

/** The campaign. */
export const cancelAnyReplica: Campaign = {
  name: "cancel-any-replica",
  about: "cancel reaches the running agent in a second, whichever orchestrator is asked",
  shortMs: 0,
  play: async (bed, options) => {
    const { client } = await bed.fleet.createUser();
    const agent = await bed.spawn("cancelled-1", 1, { capability: CAPABILITY });
    const times: Times = { begunMs: [], stoppedMs: [] };
    try {
      const { counts, problems } = await playRounds(options, () =>
        cancelEverywhere({ bed, user: client, agent, times }),
      );
      const minimums = { stopped: ORCHESTRATORS.length ** 2, "asked elsewhere": 1 };
      const [begunMs, stoppedMs] = [medianOf(times.begunMs), medianOf(times.stoppedMs)];
      const figures = { "median way to begin, ms": begunMs, "median stop, ms": stoppedMs };
      const isSlow = stoppedMs > Math.max(STOP_MS, WAYS_MAX * begunMs);
      const slow = isSlow ? [`half of the stops took more than ${stoppedMs} ms`] : [];
      const low = belowMinimum(counts, minimums);
      return { counts: { ...counts, ...figures }, problems: [...low, ...problems, ...slow] };
    } finally {
      agent.child.kill("SIGKILL");
    }
  },
};

/** How long each task took to begin, and, once it was cancelled, to be told to stop. */
interface Times {
  readonly begunMs: number[];
  readonly stoppedMs: number[];
}

interface Round {
  readonly bed: Bed;
  readonly user: NexusClient;
  readonly agent: BedAgent;
  readonly times: Times;
}

/** Every pair of an orchestrator that takes the job and one that is asked to cancel it. */
async function cancelEverywhere({ bed, user, agent, times }: Round): Promise<Verdict> {
  const clients = await Promise.all(ORCHESTRATORS.map((name) => bed.clientOf(name, user)));
  const counts = { stopped: 0, "asked elsewhere": 0, "slowest stop, ms": 0 };
  const problems: string[] = [];
  for (const submitter of clients) {
    for (const [index, canceller] of clients.entries()) {
      const key = randomUUID();
      const said = (what: string) => agent.words.some((w) => w.key === key && w.what === what);
      const submittedAtMs = performance.now();
      const jobId = await submitTasks(submitter, [
        { key, capability: CAPABILITY, input: { ms: TASK_MS, obey: true } },
      ]);
      await waitFor(() => said("began"), { timeoutMs: LIVENESS_MS, what: "the task to begin" });
      times.begunMs.push(performance.now() - submittedAtMs);
      if ((await ownerOf(bed, jobId)) !== ORCHESTRATORS[index]) counts["asked elsewhere"] += 1;
      const askedAtMs = performance.now();
      await canceller.jobs.cancelJob({ requestId: randomUUID(), jobId });
      await waitFor(() => said("told to stop"), { timeoutMs: LIVENESS_MS, what: "the stop" });
      const tookMs = Math.round(performance.now() - askedAtMs);
      times.stoppedMs.push(tookMs);
      counts["slowest stop, ms"] = Math.max(counts["slowest stop, ms"], tookMs);
      counts.stopped += 1;
      const { state } = await waitForEnd(user, jobId, LIVENESS_MS);
      if (state !== JobState.CANCELLED) problems.push(`${jobId} ended as ${JobState[state]}`);
    }
  }
  return { counts, problems };
}

function medianOf(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return Math.round(sorted[Math.floor(sorted.length / 2)] ?? 0);
}
