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
      about: "How long samples are kept; whole days are dropped once they are older.",
    }),
  },
});

/** Insight's configuration. */
export type InsightConfig = ConfigOf<typeof schema>;
