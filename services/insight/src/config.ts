/** Settings of insight. */
import {
  bool,
  type ConfigOf,
  defineConfig,
  durationMs,
  secret,
  serviceFields,
  string,
} from "@nexus/core";

const DAY_MS = 86_400_000;

/** Insight's settings, as documented in docs/config.md. */
export const schema = defineConfig({
  service: "insight",
  fields: {
    ...serviceFields("insight", { grpcPort: 7405, opsPort: 9405 }),
    auditWitness: bool({
      env: "NEXUS_INSIGHT_AUDIT_WITNESS",
      default: true,
      about: "Whether insight holds the checkpoints of vault's audit log against each other.",
    }),
    auditLogKey: string({
      env: "NEXUS_INSIGHT_AUDIT_LOG_KEY",
      optional: true,
      example: "nexus/audit-log+0a1b2c3d+AZ...",
      about:
        "The audit log's public key, as `nexus audit export` shows it. Not set: the first one seen counts from then on.",
    }),
    witnessName: string({
      env: "NEXUS_INSIGHT_WITNESS_NAME",
      default: "nexus/witness",
      pattern: /^[^\s+]{1,128}$/u,
      about: "Name under which insight cosigns, without spaces or `+`.",
    }),
    witnessKey: secret({
      env: "NEXUS_INSIGHT_WITNESS_KEY",
      optional: true,
      min: 44,
      example: "(32 random bytes in base64, e.g. from `openssl rand -base64 32`)",
      about:
        "Private key of the witness, the same for all replicas. Not set: one is made at the first start and kept in insight's schema.",
    }),
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
