/** One orchestrator's connections to the database go silent without being closed, as when a firewall forgets them. */
import { waitFor } from "@nexus/testkit";
import { LIVENESS_MS, PROXIED } from "./_bed.ts";
import type { Campaign } from "./_campaign.ts";
import { playUnderAppends, type UnderAppends } from "./_under-appends.ts";

/** Answers that the others must give while one is cut off. */
const ANSWERS_MEANWHILE = 10;

/** The campaign. */
export const halfOpen: Campaign = {
  name: "half-open",
  about: "one orchestrator's database connections go silent: it is put out, the others go on",
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
        } while (!under.signal.aborted);
        return { silences, ...counts };
      },
      minimums: { silences: 1 },
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
