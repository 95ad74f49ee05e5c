/** One orchestrator's connections to the database go silent without being closed, as when a firewall forgets them; then its stream to the
 * router. */
import { waitFor } from "@nexus/testkit";
import { LIVENESS_MS, PROXIED, readMetric } from "./_bed.ts";
import type { Campaign } from "./_campaign.ts";
import { playUnderAppends, type UnderAppends } from "./_under-appends.ts";

const STREAMS = "nexus_orchestrator_dispatch_streams";

/** Answers that the others must give while one is cut off. */
const ANSWERS_MEANWHILE = 10;

/** The campaign. */
export const halfOpen: Campaign = {
  name: "half-open",
  about:
    "one orchestrator's connections to the database, or to the router, go silent: the others go on",
  shortMs: 5_000,
  play: (bed, options) =>
    playUnderAppends(bed, options, {
      during: async (under) => {
        let silences = 0;
        const counts = { "slowest putting out, ms": 0, "slowest return, ms": 0 };
        do {
          silences += 1;
          const { outMs, backMs } = await silenceOnce(under);
          options.progress(`silence ${silences}: put out in ${outMs} ms, back in ${backMs} ms`);
          counts["slowest putting out, ms"] = Math.max(counts["slowest putting out, ms"], outMs);
          counts["slowest return, ms"] = Math.max(counts["slowest return, ms"], backMs);
          const noticedMs = await silenceRouter(under);
          options.progress(`its stream to the router, too: noticed after ${noticedMs} ms`);
        } while (!under.signal.aborted);
        return { silences, "silent streams": silences, ...counts };
      },
      minimums: { silences: 1, "silent streams": 1 },
    }),
};

/** Silence, until it is put out and the others have gone on without it; then a proxy that works. */
async function silenceOnce({
  bed,
  load,
}: UnderAppends): Promise<{ outMs: number; backMs: number }> {
  const silentAtMs = performance.now();
  bed.proxy.silence();
  await bed.untilOwning(PROXIED, false);
  const outMs = Math.round(performance.now() - silentAtMs);
  const answers = load.answers;
  await waitFor(() => load.answers >= answers + ANSWERS_MEANWHILE, {
    timeoutMs: LIVENESS_MS,
    what: "the other orchestrators to go on",
  });
  const replacedAtMs = performance.now();
  bed.proxy.replace();
  await bed.untilOwning(PROXIED, true);
  return { outMs, backMs: Math.round(performance.now() - replacedAtMs) };
}

/** Silence on the stream on which its assignments go and its agents' words come, until it has noticed and the others have gone on; what it
 * gave out meanwhile is given out again, or every job would not end. */
async function silenceRouter({ bed, load }: UnderAppends): Promise<number> {
  const untilStreams = (count: number, what: string) =>
    waitFor(async () => (await readMetric(bed, PROXIED, STREAMS)) === count, {
      timeoutMs: LIVENESS_MS,
      what,
    });
  await untilStreams(1, "a stream to the router");
  const silentAtMs = performance.now();
  bed.routerProxy.silence();
  await untilStreams(0, "the silent stream to be given up");
  const noticedMs = Math.round(performance.now() - silentAtMs);
  const answers = load.answers;
  await waitFor(() => load.answers >= answers + ANSWERS_MEANWHILE, {
    timeoutMs: LIVENESS_MS,
    what: "jobs to be taken in all the same",
  });
  bed.routerProxy.replace();
  await untilStreams(1, "the stream to be back");
  return noticedMs;
}
