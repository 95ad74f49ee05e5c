/** The settings of the orchestrator. */
import {
  type ConfigOf,
  defineConfig,
  durationMs,
  float,
  int,
  list,
  serviceFields,
  string,
} from "@nexus/core";
import { GiB } from "@nexus/shared";

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

const peers = {
  registryAddress: string({
    env: "NEXUS_ORCHESTRATOR_REGISTRY_ADDRESS",
    default: "127.0.0.1:7401",
    example: "dns:///registry:7401",
    about: "Where the registry is: agents are watched there, and outcomes reported.",
  }),
  insightAddress: string({
    env: "NEXUS_ORCHESTRATOR_INSIGHT_ADDRESS",
    default: "127.0.0.1:7405",
    example: "dns:///insight:7405",
    about: "Where insight is: it receives a sample for each attempt.",
  }),
  meshRouterAddresses: list({
    env: "NEXUS_ORCHESTRATOR_MESH_ROUTER_ADDRESSES",
    default: ["127.0.0.1:7403"],
    min: 1,
    example: "dns:///mesh-router:7403",
    about:
      "Every mesh-router replica. An entry `dns:///host:port` stands for all addresses of the name, and is looked up again and again.",
  }),
  orchestratorId: string({
    env: "NEXUS_ORCHESTRATOR_ID",
    optional: true,
    max: 128,
    example: "orchestrator-0",
    about:
      "Names this replica to routers and operators. No two may share it: a start takes the shards of whatever had the name before. Not set: host name and gRPC port.",
  }),
  advertiseAddress: string({
    env: "NEXUS_ORCHESTRATOR_ADVERTISE",
    optional: true,
    max: 256,
    example: "10.1.2.3:7402",
    about:
      "host:port at which other replicas hand calls on to this one. Not set: the address that it listens on, or the host name when that is every interface.",
  }),
};

const flushing = {
  flushItemsMax: int({
    env: "NEXUS_ORCHESTRATOR_FLUSH_ITEMS_MAX",
    default: 500,
    min: 1,
    max: 1_000,
    about: "Most jobs in one transaction; of claims and updates together twice as many.",
  }),
  flushDelayMs: durationMs({
    env: "NEXUS_ORCHESTRATOR_FLUSH_DELAY_MS",
    default: 3,
    max: 100,
    about: "How long the first one of a batch waits for others.",
  }),
  updatesQueuedMax: int({
    env: "NEXUS_ORCHESTRATOR_UPDATES_QUEUED_MAX",
    default: 20_000,
    min: 100,
    max: 1_000_000,
    about: "Most updates of agents that wait for the database; agents repeat what is dropped.",
  }),
  submitsQueuedMax: int({
    env: "NEXUS_ORCHESTRATOR_SUBMITS_QUEUED_MAX",
    default: 4_096,
    min: 1,
    max: 100_000,
    about: "Most submissions that wait for the database; more are refused with QUEUE_FULL.",
  }),
  waitingTasksMax: int({
    env: "NEXUS_ORCHESTRATOR_WAITING_TASKS_MAX",
    default: 1_000_000,
    min: 1,
    max: 5_000_000,
    about:
      "Most tasks that may wait, for an agent, for each other or for their paused job to go on; beyond it submissions are refused with QUEUE_FULL. A replica takes the part of it that it owns of the 64 shards.",
  }),
  namespaceWaitingTasksMax: int({
    env: "NEXUS_ORCHESTRATOR_NAMESPACE_WAITING_TASKS_MAX",
    default: 500_000,
    min: 1,
    max: 5_000_000,
    about:
      "Most tasks of one namespace that may wait, paused jobs' tasks too, so that one tenant's backlog leaves room for the others; of it, too, a replica takes its part. Above the largest job times the replicas, or that job finds no room.",
  }),
  waitingMemoryMibMax: int({
    env: "NEXUS_ORCHESTRATOR_WAITING_MEMORY_MIB_MAX",
    default: 256,
    min: 16,
    max: 16_384,
    about:
      "About how much memory waiting tasks may take in a process that owns all of them, whatever their number; a replica takes its part. One takes 190 bytes, and 250 more are shared by those of a submission.",
  }),
};

const routing = {
  bulkhead: int({
    env: "NEXUS_ORCHESTRATOR_BULKHEAD",
    default: 20,
    min: 1,
    max: 1_000,
    about: "Most tasks that one agent holds at once, whatever its slots.",
  }),
  explorationShare: float({
    env: "NEXUS_ORCHESTRATOR_EXPLORATION_SHARE",
    default: 0.02,
    max: 1,
    about: "Share of choices that try the least proven agent instead of the best.",
  }),
  uncostedAttemptsMax: int({
    env: "NEXUS_ORCHESTRATOR_MAX_LOST_ATTEMPTS",
    default: 10,
    min: 1,
    max: 1_000,
    about:
      "Attempts that were refused, released, or lost by no agent's doing, after which a task is given up. What a task's own agents may be lost is its retry policy's max_losses.",
  }),
  lostAfterMs: durationMs({
    env: "NEXUS_ORCHESTRATOR_LOST_AFTER_MS",
    default: 15_000,
    min: 100,
    max: 600_000,
    about:
      "How long leases outlive a session that is not seen after a restart, or whose router is away. Keep it equal to the routers' own.",
  }),
};

const sharing = {
  leaseMs: durationMs({
    env: "NEXUS_ORCHESTRATOR_LEASE_MS",
    default: 3_000,
    min: 200,
    max: 60_000,
    about:
      "How long a silent replica keeps its shards, by the database's clock. It renews six times as often; a stopped one frees them at once.",
  }),
};

const upkeep = {
  reapIntervalMs: durationMs({
    env: "NEXUS_ORCHESTRATOR_REAP_INTERVAL_MS",
    default: 250,
    min: 10,
    max: 60_000,
    about: "How often overdue leases and waiting tasks are looked for.",
  }),
  reapBatchMax: int({
    env: "NEXUS_ORCHESTRATOR_REAP_BATCH_MAX",
    default: 256,
    min: 1,
    max: 10_000,
    about: "Most overdue leases or tasks ended in one step.",
  }),
  outboxIntervalMs: durationMs({
    env: "NEXUS_ORCHESTRATOR_OUTBOX_INTERVAL_MS",
    default: 1_000,
    min: 5,
    max: 60_000,
    about:
      "How long outcomes wait for others before they are sent to registry and insight together. Reputations and figures are that much late; circuit breakers are not: they are the orchestrator's own.",
  }),
  outboxRowsMax: int({
    env: "NEXUS_ORCHESTRATOR_OUTBOX_ROWS_MAX",
    default: 1_000_000,
    min: 1_000,
    max: 100_000_000,
    about:
      "Most outcomes kept for a registry or insight that is away; beyond it the oldest are dropped.",
  }),
  eventRetentionMs: durationMs({
    env: "NEXUS_ORCHESTRATOR_EVENT_RETENTION_MS",
    default: 14 * DAY_MS,
    min: DAY_MS,
    max: 24 * DAY_MS,
    about: "How long the events of jobs can be watched again; whole days are dropped.",
  }),
  jobRetentionMs: durationMs({
    env: "NEXUS_ORCHESTRATOR_JOB_RETENTION_MS",
    default: 14 * DAY_MS,
    min: DAY_MS,
    max: 400 * DAY_MS,
    about:
      "How long a job is kept after its end, with its tasks, attempts and dead letters; no shorter than request ids are remembered.",
  }),
  chunkRetentionMs: durationMs({
    env: "NEXUS_ORCHESTRATOR_CHUNK_RETENTION_MS",
    default: 2 * DAY_MS,
    min: DAY_MS,
    max: 24 * DAY_MS,
    about:
      "How long the output chunks of tasks can be watched again; whole days are dropped, and no attempt lasts longer than one.",
  }),
  requestRetentionMs: durationMs({
    env: "NEXUS_ORCHESTRATOR_REQUEST_RETENTION_MS",
    default: DAY_MS,
    min: HOUR_MS,
    max: 7 * DAY_MS,
    about: "How long request ids are remembered.",
  }),
  payloadRetentionMs: durationMs({
    env: "NEXUS_ORCHESTRATOR_PAYLOAD_RETENTION_MS",
    default: 7 * DAY_MS,
    min: 2 * HOUR_MS,
    max: 24 * DAY_MS,
    about:
      "How long a stored body is kept after it was last uploaded or referred to, when no open job refers to it.",
  }),
  payloadNamespaceMaxBytes: int({
    env: "NEXUS_ORCHESTRATOR_PAYLOAD_NAMESPACE_MAX_BYTES",
    default: 16 * GiB,
    min: 1,
    max: 1_024 * GiB,
    about: "Most bytes of stored bodies that one namespace has; uploads under way may exceed it.",
  }),
  watchHeartbeatMs: durationMs({
    env: "NEXUS_ORCHESTRATOR_WATCH_HEARTBEAT_MS",
    default: 5_000,
    min: 10,
    max: 5_000,
    about: "A watch without news gets an empty message this often.",
  }),
};

/** Every setting, with its default and its limits. */
export const schema = defineConfig({
  service: "orchestrator",
  fields: {
    ...serviceFields("orchestrator", { grpcPort: 7402, opsPort: 9402 }),
    ...peers,
    ...flushing,
    ...routing,
    ...sharing,
    ...upkeep,
  },
});

/** The orchestrator's configuration. */
export type OrchestratorConfig = ConfigOf<typeof schema>;
