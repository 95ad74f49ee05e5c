/** Settings of insight. */
import { type ConfigOf, defineConfig, durationMs, serviceFields } from "@nexus/core";

const DAY_MS = 86_400_000;

/** Insight's settings, as documented in docs/config.md. */
export const schema = defineConfig({
  service: "insight",
  fields: {
    ...serviceFields("insight", { grpcPort: 7405, opsPort: 9405 }),
    sampleRetentionMs: durationMs({
      env: "NEXUS_INSIGHT_SAMPLE_RETENTION_MS",
      default: 30 * DAY_MS,
      min: 2 * DAY_MS,
      max: 400 * DAY_MS,
      dynamic: true,
      about:
        "How long single samples are kept, which answer for jobs; whole days are dropped once they are older.",
    }),
    rollupIntervalMs: durationMs({
      env: "NEXUS_INSIGHT_ROLLUP_INTERVAL_MS",
      default: 5_000,
      min: 50,
      max: 300_000,
      about:
        "Pause between two rounds of adding new samples to the sums. Questions add up what is not in them yet, so this trades their work for writes.",
    }),
    rollupRetentionMs: durationMs({
      env: "NEXUS_INSIGHT_ROLLUP_RETENTION_MS",
      default: 31 * DAY_MS,
      min: 2 * DAY_MS,
      max: 400 * DAY_MS,
      dynamic: true,
      about:
        "How long sums by minute, hour and day are kept, which answer for agents and capabilities. Questions may look back 30 days.",
    }),
  },
});

/** Insight's configuration. */
export type InsightConfig = ConfigOf<typeof schema>;
