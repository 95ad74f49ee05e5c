/** The database killed every five seconds, as a power cut would, while jobs are appended. */
import { sleep } from "@nexus/shared";
import { waitFor } from "@nexus/testkit";
import { LIVENESS_MS } from "./_bed.ts";
import type { Campaign } from "./_campaign.ts";
import { playUnderAppends, type UnderAppends } from "./_under-appends.ts";

const KILL_EVERY_MS = 5_000;
/** Load without kills, to compare with: before the first, and after the last for as long as the recovery may take. */
const CALM_BEFORE_MS = 1_500;
const CALM_AFTER_MAX_MS = 10_000;

/** The campaign. */
export const postgresKill: Campaign = {
  name: "postgres-kill",
  about: "SIGKILL of Postgres every 5 s; nothing acknowledged is lost, and the rate comes back",
  shortMs: 10_000,
  play: (bed, options) =>
    playUnderAppends(bed, options, {
      during: (under) => killAndMeasure(under, options.durationMs, options.progress),
      minimums: { kills: 1 },
    }),
};

/** Every recovery is waited for, however long it takes: how long it took is reported, that it came is the test. */
async function killAndMeasure(
  { bed, load, signal }: UnderAppends,
  durationMs: number,
  progress: (text: string) => void,
): Promise<Record<string, number>> {
  const startedAtMs = performance.now();
  const lastKillAtMs = startedAtMs + durationMs - Math.min(CALM_AFTER_MAX_MS, durationMs / 3);
  await sleep(CALM_BEFORE_MS, signal).catch(() => undefined);
  const firstKillAtMs = performance.now();
  let kills = 0;
  let slowestMs = 0;
  do {
    const killedAtMs = performance.now();
    kills += 1;
    await bed.fleet.stack.processes.kill("postgres");
    const answers = load.answers;
    await waitFor(() => load.answers > answers, {
      timeoutMs: LIVENESS_MS,
      what: "an acknowledged job after the database was killed",
    });
    const tookMs = Math.round(performance.now() - killedAtMs);
    slowestMs = Math.max(slowestMs, tookMs);
    progress(`kill ${kills}: acknowledged again after ${tookMs} ms`);
    const leftMs = Math.min(KILL_EVERY_MS - tookMs, lastKillAtMs - performance.now());
    await sleep(Math.max(0, leftMs), signal).catch(() => undefined);
  } while (performance.now() < lastKillAtMs);
  const calmAtMs = performance.now();
  await sleep(durationMs, signal).catch(() => undefined);
  return {
    kills,
    "slowest recovery, ms": slowestMs,
    "rate before": load.rate(startedAtMs, firstKillAtMs),
    "rate between": load.rate(firstKillAtMs, calmAtMs),
    "rate after": load.rate(calmAtMs, performance.now()),
  };
}
