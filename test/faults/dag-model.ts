/** Random graphs, failed, cancelled, paused, retried and replayed while orchestrators and agents die: each generation ends as a simple
 * model says. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Bed, LIVENESS_MS } from "./_bed.ts";
import { belowMinimum, type Campaign, type CampaignOptions, type Verdict } from "./_campaign.ts";
import { watchConservation } from "./_conservation.ts";
import { DagLoad } from "./_dag-load.ts";
import { endBackends, killAService, VICTIMS } from "./_faults.ts";
import { playFaults } from "./_nemesis.ts";
import { createRandom } from "./_random.ts";

const CLIENTS = 4;
const CALM_MS = [300, 1_500] as const;
const PER_SECOND = { graphs: 0.5, faults: 0.1 };
/** Without one of each a run has not shown what it is for. */
const ONE_OF_EACH = [
  "cancelled",
  "completed",
  "failed",
  "mapped",
  "partial",
  "paused",
  "replayed",
  "retried",
  "stopped by a sibling",
];

/** The campaign. */
export const dagModel: Campaign = {
  name: "dag-model",
  about: "random graphs, stopped, paused, retried and replayed under kills, end as a model says",
  shortMs: 8_000,
  play: async (bed, options) => {
    await bed.agents.start();
    const dir = await mkdtemp(join(tmpdir(), "nexus-dag-"));
    const settled = new AbortController();
    const conservation = watchConservation(bed, settled.signal);
    // It is awaited at the end; a failure before that must not count as one that nobody handles.
    conservation.catch(() => undefined);
    try {
      const { counts, problems } = await playGraphs(bed, options, dir);
      settled.abort();
      const { checks, problems: unbalanced } = await conservation;
      const low = belowMinimum({ ...counts, checks }, { ...minimumsOf(options), checks: 1 });
      return { counts: { ...counts, checks }, problems: [...problems, ...unbalanced, ...low] };
    } finally {
      settled.abort();
      await rm(dir, { recursive: true, force: true });
    }
  },
};

async function playGraphs(bed: Bed, options: CampaignOptions, dir: string): Promise<Verdict> {
  const { durationMs, seed, progress } = options;
  const { client } = await bed.fleet.createUser();
  const loads = Array.from(
    { length: CLIENTS },
    (_, index) => new DagLoad({ client, dir, random: createRandom(seed + index + 1) }),
  );
  const over = new AbortController();
  const { signal } = over;
  const timer = setTimeout(() => over.abort(), durationMs);
  let hasThrown = false;
  const giveUpAtMs = performance.now() + durationMs + LIVENESS_MS;
  const minimums = { ...minimumsOf(options), faults: 0 };
  const isOver = () => {
    const isEnough = belowMinimum(sumOf(loads), minimums).length === 0;
    const isBroken = hasThrown || loads.some(({ problems }) => problems.length > 0);
    return isBroken || (signal.aborted && (isEnough || performance.now() > giveUpAtMs));
  };
  progress(`graphs for ${Math.round(durationMs / 1_000)} s`);
  const faults = playFaults(signal, {
    faults: [killAService(bed), bed.agents.kill, endBackends(bed, () => undefined)],
    random: createRandom(seed),
    progress,
    atLeast: minimumsOf(options)["faults"] ?? 0,
    calmMs: CALM_MS,
  });
  const playing = loads.map((load) => load.playUntil(isOver));
  try {
    await Promise.all([...playing, faults]);
  } catch (error) {
    hasThrown = true;
    throw error;
  } finally {
    // Neither faults nor graphs of a campaign that failed may go on under the next.
    clearTimeout(timer);
    over.abort();
    await Promise.allSettled([...playing, faults]);
  }
  for (const name of VICTIMS) await bed.fleet.stack.processes.waitReady(name);
  const counts = { ...sumOf(loads), faults: await faults };
  return { counts, problems: loads.flatMap(({ problems }) => problems) };
}

function sumOf(loads: readonly DagLoad[]): Record<string, number> {
  const sum: Record<string, number> = {};
  for (const [name, count] of loads.flatMap(({ counts }) => Object.entries(counts))) {
    sum[name] = (sum[name] ?? 0) + count;
  }
  return sum;
}

function minimumsOf({ durationMs }: CampaignOptions): Record<string, number> {
  const seconds = durationMs / 1_000;
  return {
    ...Object.fromEntries(ONE_OF_EACH.map((name) => [name, 1])),
    graphs: Math.floor(PER_SECOND.graphs * seconds),
    faults: Math.max(1, Math.floor(PER_SECOND.faults * seconds)),
  };
}
