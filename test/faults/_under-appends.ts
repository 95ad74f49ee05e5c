/** The frame of every campaign that is faults under a load of appends. */
import type { NexusClient } from "@nexus/sdk";
import { waitFor } from "@nexus/testkit";
import { AppendLoad } from "./_append-load.ts";
import { type Bed, LIVENESS_MS } from "./_bed.ts";
import { belowMinimum, type CampaignOptions, type Verdict } from "./_campaign.ts";
import { watchConservation } from "./_conservation.ts";
import { VICTIMS } from "./_faults.ts";
import { findMiscounts } from "./_outcomes.ts";
import { createRandom, type Random } from "./_random.ts";

/** What a second of load must have achieved, on a busy machine with a fault going on most of the time. */
const PER_SECOND = { acknowledged: 2, completed: 2, checks: 0.1 };

/** What the part of a campaign that is its own can use. */
export interface UnderAppends {
  readonly bed: Bed;
  readonly client: NexusClient;
  readonly load: AppendLoad;
  readonly random: Random;
  /** Aborts when no more faults shall be played; the load goes on until `during` has returned. */
  readonly signal: AbortSignal;
}

/** What is special about a campaign. */
export interface Play {
  /** Plays faults until the signal aborts; returns what it did. It leaves everything running. */
  readonly during: (under: UnderAppends) => Promise<Readonly<Record<string, number>>>;
  /** Looks once more when every job has ended; returns problems. */
  readonly after?: (under: UnderAppends) => Promise<readonly string[]>;
  /** What `during` must have done for the run to prove anything. */
  readonly minimums: Readonly<Record<string, number>>;
}

/** Appends jobs while `during` plays, and judges the jobs, the tables and what insight counted. */
export async function playUnderAppends(
  bed: Bed,
  { durationMs, seed, progress }: CampaignOptions,
  { during, after, minimums }: Play,
): Promise<Verdict> {
  const { client } = await bed.fleet.createUser();
  const load = new AppendLoad(client, seed);
  await bed.agents.start();
  progress(`appending for ${Math.round(durationMs / 1_000)} s`);
  const signal = AbortSignal.timeout(durationMs);
  const stopped = new AbortController();
  const settled = new AbortController();
  const conservation = watchConservation(bed, settled.signal);
  // It is awaited at the end; a failure before that must not count as one that nobody handles.
  conservation.catch(() => undefined);
  const under = { bed, client, load, random: createRandom(seed), signal };
  const loading = load.run(stopped.signal);
  let done: Awaited<ReturnType<Play["during"]>>;
  try {
    done = await during(under);
    await untilEnough(load, durationMs, signal);
  } catch (error) {
    // Neither the checks nor the load of a campaign that failed may go on under the next.
    settled.abort();
    await conservation.catch(() => undefined);
    throw error;
  } finally {
    stopped.abort();
    await loading;
  }
  progress(`${load.answers} answers; waiting for every job to end`);
  for (const name of VICTIMS) await bed.fleet.stack.processes.waitReady(name);
  const { counts: judged, problems } = await load.judge();
  settled.abort();
  const { checks, problems: unbalanced } = await conservation;
  const miscounts = await findMiscounts(bed, client);
  const more = (await after?.(under)) ?? [];
  const counts = { ...judged, ...done, checks };
  return {
    counts,
    problems: [
      ...belowMinimum(counts, { ...perSecond(durationMs), ...minimums }),
      ...problems,
      ...unbalanced,
      ...miscounts,
      ...more,
    ],
  };
}

/** A busy machine takes longer for as much; one that stands still is found by the count. */
async function untilEnough(
  load: AppendLoad,
  durationMs: number,
  signal: AbortSignal,
): Promise<void> {
  const { acknowledged = 0, completed = 0 } = perSecond(durationMs);
  const enough = Math.max(acknowledged, completed);
  // Some of those that are acknowledged are cancelled or fail: that is what is played.
  const isEnough = async () =>
    signal.aborted && load.jobIds.length >= enough && (await load.countCompleted()) >= enough;
  await waitFor(isEnough, {
    timeoutMs: durationMs + LIVENESS_MS,
    what: "enough completed jobs",
  }).catch(() => undefined);
}

function perSecond(durationMs: number): Record<string, number> {
  const seconds = durationMs / 1_000;
  return Object.fromEntries(
    Object.entries(PER_SECOND).map(([name, rate]) => [name, Math.floor(rate * seconds)]),
  );
}
