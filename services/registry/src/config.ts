/** Settings of the registry. */
import { type ConfigOf, defineConfig, durationMs, int, serviceFields } from "@nexus/core";

const DAY_MS = 86_400_000;

/** The registry's settings, as documented in docs/config.md. */
export const schema = defineConfig({
  service: "registry",
  fields: {
    ...serviceFields("registry", { grpcPort: 7401, opsPort: 9401 }),
    presenceLostAfterMs: durationMs({
      env: "NEXUS_REGISTRY_PRESENCE_LOST_AFTER_MS",
      default: 15_000,
      min: 500,
      max: 600_000,
      about:
        "An agent whose presence no router renews for this long is LOST. Routers renew every 5 s, so keep it above two renewals.",
    }),
    presenceSweepIntervalMs: durationMs({
      env: "NEXUS_REGISTRY_PRESENCE_SWEEP_INTERVAL_MS",
      default: 1_000,
      min: 50,
      max: 60_000,
      about: "Pause between two looks for agents that are LOST.",
    }),
    expirySweepIntervalMs: durationMs({
      env: "NEXUS_REGISTRY_EXPIRY_SWEEP_INTERVAL_MS",
      default: 10_000,
      min: 50,
      max: 3_600_000,
      about: "Pause between two looks for records whose time is over.",
    }),
    feedPollIntervalMs: durationMs({
      env: "NEXUS_REGISTRY_FEED_POLL_INTERVAL_MS",
      default: 400,
      min: 10,
      max: 500,
      about:
        "Longest pause between two reads of the change feed; other replicas' changes usually arrive at once by notification.",
    }),
    feedRetentionMs: durationMs({
      env: "NEXUS_REGISTRY_FEED_RETENTION_MS",
      default: 3_600_000,
      min: 1_000,
      max: DAY_MS,
      about: "How long changes are kept for watchers that resume.",
    }),
    feedRowsMax: int({
      env: "NEXUS_REGISTRY_FEED_ROWS_MAX",
      default: 100_000,
      min: 1_000,
      max: 10_000_000,
      about: "Most changes kept for watchers that resume; the oldest go first.",
    }),
    reputationHalfLifeMs: durationMs({
      env: "NEXUS_REGISTRY_REPUTATION_HALF_LIFE_MS",
      default: 7 * DAY_MS,
      min: 60_000,
      about:
        "Evidence behind a reputation weighs half as much after this time. All replicas need the same value.",
    }),
    agentsPerNamespaceMax: int({
      env: "NEXUS_REGISTRY_AGENTS_PER_NAMESPACE_MAX",
      default: 20_000,
      min: 1,
      max: 1_000_000,
      about:
        "Most agents in one namespace. All of them are held in memory: count on 5 KiB for each.",
    }),
  },
});

/** The registry's configuration. */
export type RegistryConfig = ConfigOf<typeof schema>;
