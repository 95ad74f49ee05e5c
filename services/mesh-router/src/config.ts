/** The settings of the mesh-router. */
import {
  type ConfigOf,
  defineConfig,
  durationMs,
  int,
  oneOf,
  secret,
  serviceFields,
  string,
} from "@nexus/core";
import {
  ABSENT_AGENTS_KEPT_MS,
  MAIL_ATTEMPTS_MAX,
  MAILBOX_MAX,
  PAIR_CAUSED_PER_MINUTE,
  SESSIONS_MAX,
} from "./domain/limits.ts";
import {
  LOG_CHANGES_MAX,
  LOG_KEPT_MS,
  NAMESPACE_BUCKETS_MAX,
  NAMESPACE_BYTES_MAX,
  NAMESPACE_KEYS_MAX,
  STATE_ASK_INTERVAL_MS,
  TOMBSTONES_KEPT_MS,
} from "./domain/state/state-limits.ts";

/** Two lost heartbeats must not end a session. */
const LOST_AFTER_HEARTBEATS_MIN = 2;

/** Every setting, with its default and its limits. */
export const meshRouterConfig = defineConfig({
  service: "mesh-router",
  fields: {
    ...serviceFields("mesh-router", { grpcPort: 7403, opsPort: 9403 }),
    registryAddress: string({
      env: "NEXUS_MESH_ROUTER_REGISTRY_ADDRESS",
      default: "127.0.0.1:7401",
      example: "dns:///registry:7401",
      about:
        "Where the registry is: presence is reported to it, and agents' capabilities are watched there.",
    }),
    orchestratorAddress: string({
      env: "NEXUS_MESH_ROUTER_ORCHESTRATOR_ADDRESS",
      default: "127.0.0.1:7402",
      example: "dns:///orchestrator:7402",
      about: "Where the orchestrator is: leases that messages are sent under are checked there.",
    }),
    routerId: string({
      env: "NEXUS_MESH_ROUTER_ID",
      optional: true,
      max: 128,
      example: "mesh-router-0",
      about:
        "Names this replica. Not set: the host's name and the gRPC port. A restarted replica must keep it to keep its sessions' grace.",
    }),
    busDriver: oneOf({
      env: "NEXUS_BUS_DRIVER",
      values: ["memory", "redis"],
      default: "memory",
      about:
        "What carries signals between replicas. `memory`: there is one replica. `redis`: any number, which share NEXUS_REDIS_URL.",
    }),
    redisUrl: secret({
      env: "NEXUS_REDIS_URL",
      optional: true,
      example: "rediss://user:password@redis:6379/0",
      about:
        "Redis 6.2 or newer, as `redis://` or, with TLS, `rediss://`. A signal and a cache only: losing it costs time, not data.",
    }),
    busDeployment: string({
      env: "NEXUS_BUS_DEPLOYMENT",
      default: "nexus",
      max: 64,
      pattern: /^[A-Za-z0-9._-]+$/,
      about: "Names this deployment in a Redis that others use too: replicas of one name meet.",
    }),
    busLostAfterMs: durationMs({
      env: "NEXUS_BUS_LOST_AFTER_MS",
      default: 5_000,
      min: 500,
      max: 60_000,
      about: "Replicas that the bus carries nothing from for this long are taken for lost.",
    }),
    heartbeatIntervalMs: durationMs({
      env: "NEXUS_MESH_ROUTER_HEARTBEAT_INTERVAL_MS",
      default: 5_000,
      min: 50,
      max: 60_000,
      about: "How often agents are asked to send a heartbeat.",
    }),
    lostAfterMs: durationMs({
      env: "NEXUS_MESH_ROUTER_LOST_AFTER_MS",
      default: 15_000,
      min: 100,
      max: 600_000,
      about:
        "A session without a frame, or without a stream, for this long is lost and its leases end.",
    }),
    reconnectWindowMs: durationMs({
      env: "NEXUS_MESH_ROUTER_RECONNECT_WINDOW_MS",
      default: 30_000,
      min: 100,
      max: 600_000,
      about: "How long sessions can be resumed after this replica was asked to stop.",
    }),
    presenceRefreshMs: durationMs({
      env: "NEXUS_MESH_ROUTER_PRESENCE_REFRESH_MS",
      default: 5_000,
      min: 50,
      max: 60_000,
      about:
        "How often every session is reported to the registry; changes are reported at once, busy or not once a second.",
    }),
    sessionsMax: int({
      env: "NEXUS_MESH_ROUTER_SESSIONS_MAX",
      default: SESSIONS_MAX,
      min: 1,
      max: 100_000,
      about: "Sessions this replica holds at most.",
    }),
    mailboxMax: int({
      env: "NEXUS_MESH_ROUTER_MAILBOX_MAX",
      default: MAILBOX_MAX,
      min: 1,
      max: 1_000_000,
      about: "Durable messages that wait for one agent at most; beyond it senders get OVERLOADED.",
    }),
    pairCausedPerMinute: int({
      env: "NEXUS_MESH_ROUTER_PAIR_CAUSED_PER_MINUTE",
      default: PAIR_CAUSED_PER_MINUTE,
      min: 0,
      max: 10_000_000,
      about:
        "Messages a minute that one principal may send to another because of other messages; 0: any number.",
    }),
    mailAttemptsMax: int({
      env: "NEXUS_MESH_ROUTER_MAIL_ATTEMPTS_MAX",
      default: MAIL_ATTEMPTS_MAX,
      min: 1,
      max: 1_000,
      about: "How often a durable message is tried before it is a dead letter.",
    }),
    redeliveryInitialMs: durationMs({
      env: "NEXUS_MESH_ROUTER_REDELIVERY_INITIAL_MS",
      default: 1_000,
      min: 1,
      max: 60_000,
      about:
        "Delay after a durable message's first failure; it doubles with each, up to 5 minutes.",
    }),
    deadMessagesKeptMs: durationMs({
      env: "NEXUS_MESH_ROUTER_DEAD_MESSAGES_KEPT_MS",
      default: 14 * 86_400_000,
      min: 86_400_000,
      max: 366 * 86_400_000,
      about: "How long dead messages are kept; whole days are dropped.",
    }),
    absentAgentsKeptMs: durationMs({
      env: "NEXUS_MESH_ROUTER_ABSENT_AGENTS_KEPT_MS",
      default: ABSENT_AGENTS_KEPT_MS,
      min: 3_600_000,
      max: 366 * 86_400_000,
      about:
        "How long an agent may be without a session before its durable subscriptions end, and its row of sessions is removed.",
    }),
    stateTombstonesKeptMs: durationMs({
      env: "NEXUS_MESH_ROUTER_STATE_TOMBSTONES_KEPT_MS",
      default: TOMBSTONES_KEPT_MS,
      min: 100,
      max: 30 * 86_400_000,
      about:
        "How long deleted keys of buckets are remembered; writes that claim to be older are refused.",
    }),
    stateLogKeptMs: durationMs({
      env: "NEXUS_MESH_ROUTER_STATE_LOG_KEPT_MS",
      default: LOG_KEPT_MS,
      min: 100,
      max: 30 * 86_400_000,
      about: "How long changes of buckets are kept for watchers that come back.",
    }),
    stateAskIntervalMs: durationMs({
      env: "NEXUS_MESH_ROUTER_STATE_ASK_INTERVAL_MS",
      default: STATE_ASK_INTERVAL_MS,
      min: 20,
      max: 3_600_000,
      about:
        "How often the database is asked for changes of watched buckets, in case a notice of another replica was lost.",
    }),
    stateLogChangesMax: int({
      env: "NEXUS_MESH_ROUTER_STATE_LOG_CHANGES_MAX",
      default: LOG_CHANGES_MAX,
      min: 1,
      max: 100_000_000,
      about: "How many changes of one bucket are kept at most.",
    }),
    stateBucketsMax: int({
      env: "NEXUS_MESH_ROUTER_STATE_BUCKETS_MAX",
      default: NAMESPACE_BUCKETS_MAX,
      min: 0,
      max: 100_000,
      about: "Buckets of one namespace at most.",
    }),
    stateKeysMax: int({
      env: "NEXUS_MESH_ROUTER_STATE_KEYS_MAX",
      default: NAMESPACE_KEYS_MAX,
      min: 0,
      max: 1_000_000_000,
      about: "Keys that the buckets of one namespace may have together, by their quotas.",
    }),
    stateBytesMax: int({
      env: "NEXUS_MESH_ROUTER_STATE_BYTES_MAX",
      default: NAMESPACE_BYTES_MAX,
      min: 0,
      max: 1_099_511_627_776,
      about: "Bytes that the buckets of one namespace may have together, by their quotas.",
    }),
  },
  check: ({ heartbeatIntervalMs, lostAfterMs, busDriver, redisUrl }) => [
    ...(lostAfterMs >= heartbeatIntervalMs * LOST_AFTER_HEARTBEATS_MIN
      ? []
      : [
          {
            field: "lostAfterMs",
            problem: "must be at least twice the heartbeat interval",
          } as const,
        ]),
    ...(busDriver === "memory" || isRedisUrl(redisUrl)
      ? []
      : [
          {
            field: "redisUrl",
            problem: "must be a redis:// or rediss:// URL for the driver redis",
          } as const,
        ]),
  ],
});

function isRedisUrl(text: string | undefined): boolean {
  return text !== undefined && /^rediss?:\/\//.test(text) && URL.canParse(text);
}

/** The values of those settings. */
export type MeshRouterConfig = ConfigOf<typeof meshRouterConfig>;
