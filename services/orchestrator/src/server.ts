/** Puts the orchestrator together. Reads top to bottom in the order of dependency; the frame closes in reverse. */
import { hostname } from "node:os";
import { fileURLToPath } from "node:url";
import { keepServiceAudit } from "@nexus/audit";
import type { ConfigManager } from "@nexus/core";
import { createListener, createPool, migrate, type Pool } from "@nexus/postgres";
import { JobService, LeaseService, PayloadService } from "@nexus/proto/orchestrator";
import { RegistryService } from "@nexus/proto/registry";
import { createRpcClient } from "@nexus/rpc";
import {
  createServiceFrame,
  type RunningService,
  type ServerOverrides,
  type ServiceFrame,
  usePool,
} from "@nexus/runtime";
import { AgentWatcher } from "./clients/agent-watcher.ts";
import { DispatchClient } from "./clients/dispatch-client.ts";
import { createOutcomeCodec } from "./clients/outcome-codec.ts";
import { createInsightReceiver, createRegistryReceiver } from "./clients/outcome-receivers.ts";
import { ReplicaClients } from "./clients/replica-clients.ts";
import type { OrchestratorConfig } from "./config.ts";
import { Engine } from "./engine/engine.ts";
import { createEvents, type OrchestratorEvents } from "./events.ts";
import { createHandlers, createLeaseHandlers, createPayloadHandlers } from "./handlers/index.ts";
import { PayloadStreams } from "./handlers/payload-streams.ts";
import { createPlanCodec } from "./handlers/plan-codec.ts";
import { OutboxSender } from "./loops/outbox-sender.ts";
import {
  auditLeases,
  auditWaiting,
  forgetRequests,
  keepPartitionsLoop,
  keepRing,
  reapAbsent,
  reapClosings,
  reapDeadlines,
  reapSilent,
  reapWaiting,
  refreshRouters,
  removeJobs,
  removePayloads,
  renewLease,
  sweep,
} from "./loops/upkeep-loops.ts";
import { deleteOutbox, readOrphans, readOutbox, readOutboxSpan } from "./store/outbox-store.ts";
import { keepPartitions } from "./store/partition-store.ts";
import {
  createPayloadStore,
  forgetUses,
  removeBrokenUploads,
  removeUnusedPayloads,
} from "./store/payload-store.ts";
import { createReader } from "./store/reader.ts";
import { RING_CHANNEL } from "./store/replica-store.ts";
import { deleteOldRequests } from "./store/request-store.ts";

const SCHEMA = "orchestrator";
const MIGRATIONS = fileURLToPath(new URL("../migrations/", import.meta.url));
/** How often acknowledged outcomes are deleted, and those that dead replicas left are looked for. */
const OUTBOX_SWEEP_INTERVAL_MS = 1_000;
/** By the contract. */
const ORCHESTRATOR_ID_MAX = 128;
/** Days of event history prepared ahead: a keeper that fails for a week loses nothing. */
const PARTITION_DAYS_AHEAD = 7;

/** What a test may put in place of the orchestrator's own parts. */
export interface OrchestratorOverrides extends ServerOverrides {
  /** Chance, for routing and retry delays. */
  readonly random?: () => number;
}

interface Parts {
  readonly frame: ServiceFrame;
  readonly config: OrchestratorConfig;
  readonly pool: Pool;
  readonly events: OrchestratorEvents;
}

/** Starts the orchestrator: migrates, serves, and takes its part of the shards. Resolves when calls are taken; until it has joined
 * the other replicas they get NOT_OWNER. */
export async function startServer(
  config: ConfigManager<OrchestratorConfig>,
  overrides: OrchestratorOverrides = {},
): Promise<RunningService> {
  const frame = await createServiceFrame({ service: "orchestrator", config, overrides });
  try {
    const pool = openPool(frame, config.current);
    const events = createEvents(frame.metrics, frame.logger);
    const parts: Parts = { frame, config: config.current, pool, events };
    await frame.untilUp("postgres", () => migrate(pool, { schema: SCHEMA, directory: MIGRATIONS }));
    keepServiceAudit(frame, { pool, vaultAddress: config.current.vaultAddress });
    const keepDays = () => keepAllPartitions(pool, config.current);
    await frame.untilUp("postgres", keepDays);
    const engine = openEngine(parts, overrides);
    openLoops(parts, engine);
    openOutbox(parts, engine);
    frame.loop(keepPartitionsLoop(keepDays));
    const reader = createReader(pool);
    const { watchHeartbeatMs } = config.current;
    const peers = openPeers(parts);
    const peer = (address: string) => peers.at(address);
    frame.server.add(JobService, createHandlers({ engine, reader, watchHeartbeatMs, peer }));
    frame.server.add(LeaseService, createLeaseHandlers({ engine }));
    const payloads = createPayloadStore(pool);
    const { payloadNamespaceMaxBytes } = config.current;
    const streams = new PayloadStreams();
    frame.server.add(
      PayloadService,
      createPayloadHandlers({ payloads, streams, payloadNamespaceMaxBytes }),
    );
    const service = await frame.start();
    engine.start(config.current.advertiseAddress ?? reachable(service.address));
    return service;
  } catch (error) {
    await frame[Symbol.asyncDispose]();
    throw error;
  }
}

function openPeers({ frame }: Parts): ReplicaClients {
  const peers = new ReplicaClients((address) => frame.openChannel(address, "orchestrator"));
  frame.defer("channels to replicas", () => peers.close());
  return peers;
}

async function keepAllPartitions(
  pool: Pool,
  { eventRetentionMs, chunkRetentionMs }: OrchestratorConfig,
): Promise<void> {
  const daysAhead = PARTITION_DAYS_AHEAD;
  await keepPartitions(pool, { table: "job_events", daysAhead, retentionMs: eventRetentionMs });
  await keepPartitions(pool, { table: "task_chunks", daysAhead, retentionMs: chunkRetentionMs });
}

function openPool(frame: ServiceFrame, config: OrchestratorConfig): Pool {
  const pool = createPool({
    url: config.databaseUrl,
    max: config.databasePoolMax,
    applicationName: "nexus-orchestrator",
    schema: SCHEMA,
    statementTimeoutMs: config.statementTimeoutMs,
    // A replica that hangs inside a transaction would keep others from putting it out.
    idleInTransactionTimeoutMs: config.leaseMs,
    logger: frame.logger,
  });
  usePool(frame, pool);
  return pool;
}

/** Other processes cannot call "every interface". */
function reachable(address: string): string {
  return address.replace(/^(0\.0\.0\.0|\[?::\]?):/, `${hostname()}:`);
}

/** Builds the engine with its streams, which open when this replica joins. */
function openEngine(parts: Parts, overrides: OrchestratorOverrides): Engine {
  const { frame, config, pool, events } = parts;
  const name = config.orchestratorId ?? `${hostname()}:${config.grpcPort}`;
  const replicaId = `${name}/${frame.ids.next()}`;
  const dispatch = new DispatchClient({
    addresses: config.meshRouterAddresses,
    orchestratorId: replicaId.slice(-ORCHESTRATOR_ID_MAX),
    channel: (address) => frame.openChannel(address, "mesh-router"),
    tokens: frame.tokens,
    logger: frame.logger,
  });
  const engine = new Engine({
    pool,
    replica: { name, replicaId, leaseMs: config.leaseMs },
    dispatch,
    plans: createPlanCodec(),
    outcomes: createOutcomeCodec(),
    events,
    limits: config,
    bulkhead: config.bulkhead,
    explorationShare: config.explorationShare,
    logger: frame.logger,
    ids: frame.ids,
    ...(overrides.random === undefined ? {} : { random: overrides.random }),
    onJoined: () => {
      dispatch.open();
      ring.trigger();
    },
  });
  listenToStreams(dispatch, engine, events);
  const client = createRpcClient(
    RegistryService,
    frame.channel(config.registryAddress, "registry"),
    {
      tokens: frame.tokens,
    },
  );
  const watcher = new AgentWatcher({ client, listener: engine, logger: frame.logger });
  frame.defer("dispatch streams", () => dispatch.close());
  frame.defer("agent watch", () => watcher.close());
  frame.defer("engine", () => engine.stop());
  frame.check("ownership", () => {
    if (engine.ownership !== "owner") throw new Error(engine.ownership);
    if (!engine.ring.balanced) throw new Error("taking shards");
  });
  const ring = frame.loop(keepRing(engine, config.leaseMs));
  frame.loop(renewLease(engine, config.leaseMs));
  const listener = createListener({
    url: config.databaseUrl,
    channels: [RING_CHANNEL],
    onNotify: () => ring.trigger(),
    onReconnect: () => ring.trigger(),
    logger: frame.logger,
    applicationName: "nexus-orchestrator-ring",
  });
  frame.defer("ring listener", () => listener.close());
  frame.loop(refreshRouters(() => dispatch.refresh()));
  addGauges(parts, engine);
  return engine;
}

function listenToStreams(
  dispatch: DispatchClient,
  engine: Engine,
  events: OrchestratorEvents,
): void {
  dispatch.listen({
    onStreamOpened(router) {
      events.streamOpened(router);
      engine.sessions.onStreamOpened(router);
      engine.demands.forget(router);
    },
    onReport: (router, report) => engine.sessions.onReport(router, report),
    onSnapshotComplete: (router) => engine.sessions.onSnapshotComplete(router),
    onUpdate: (update) => engine.updates.receive(update),
    onRefusal: (refusal) => engine.sessions.onRefusal(refusal),
    onStreamLost(router, error) {
      events.streamLost(router, error);
      engine.sessions.onStreamLost(router);
    },
  });
}

function openLoops({ frame, config, pool }: Parts, engine: Engine): void {
  frame.loop(reapDeadlines(engine, config.reapIntervalMs, config.reapBatchMax));
  frame.loop(auditLeases(engine, config.reapIntervalMs));
  frame.loop(auditWaiting(engine, config.reapIntervalMs));
  frame.loop(reapWaiting(engine, config.reapIntervalMs, config.reapBatchMax));
  frame.loop(reapSilent(engine, config.reapIntervalMs, config.reapBatchMax));
  frame.loop(reapClosings(engine, config.reapIntervalMs, config.reapBatchMax));
  frame.loop(reapAbsent(engine));
  frame.loop(sweep(engine));
  const age = config.requestRetentionMs;
  frame.loop(forgetRequests((limit) => deleteOldRequests(pool, age, limit)));
  // A request id that is remembered names a job that is there.
  frame.loop(removeJobs(engine, Math.max(config.jobRetentionMs, age)));
  frame.loop(
    removePayloads({
      unused: (limit) => removeUnusedPayloads(pool, config.payloadRetentionMs, limit),
      broken: (limit) => removeBrokenUploads(pool, limit),
      uses: (limit) => forgetUses(pool, limit),
    }),
  );
}

function openOutbox({ frame, config, pool, events }: Parts, engine: Engine): void {
  const { tokens } = frame;
  const receivers = [
    createRegistryReceiver({ channel: frame.channel(config.registryAddress, "registry"), tokens }),
    createInsightReceiver({ channel: frame.channel(config.insightAddress, "insight"), tokens }),
  ];
  const sender = new OutboxSender({
    outbox: {
      read: (stream, after, page) => readOutbox(pool, stream, after, page),
      delete: (stream, upTo) => deleteOutbox(pool, stream, upTo),
      span: (stream) => readOutboxSpan(pool, stream),
      orphans: () => readOrphans(pool),
    },
    receivers,
    outcomesMax: config.outboxRowsMax,
    stream: engine.replicaId,
    version: () => engine.outcomesVersion,
    adopts: () => engine.adoptsOutcomes,
    nowMs: () => frame.clock.nowMs(),
    events,
  });
  const intervalMs = config.outboxIntervalMs;
  for (const receiver of receivers) {
    const name = `outcomes-to-${receiver.name}`;
    frame.loop({ name, intervalMs, step: (signal) => sender.tell(receiver, signal) });
  }
  frame.loop({
    name: "sweep-outbox",
    intervalMs: OUTBOX_SWEEP_INTERVAL_MS,
    step: () => sender.sweep(),
  });
}

function addGauges({ frame }: Parts, engine: Engine): void {
  const gauges: readonly [keyof ReturnType<Engine["stats"]>, string, string][] = [
    ["ready", "tasks_ready", "Tasks that wait for an agent."],
    ["delayed", "tasks_delayed", "Tasks that wait for their next attempt."],
    ["blocked", "tasks_blocked", "Tasks that wait for other tasks."],
    [
      "withheld",
      "tasks_withheld",
      "Tasks that would wait for an agent if their jobs were not paused.",
    ],
    ["leases", "leases", "Live leases."],
    ["claims", "claims_in_flight", "Choices that wait for their commit."],
    ["agents", "agents_known", "Agents known from registry, sessions or leases."],
    ["watchers", "watchers", "Open watches of jobs."],
    ["shards", "shards_owned", "Shards that this replica owns."],
    ["replicas", "replicas_live", "Live replicas, as this one sees them."],
  ];
  for (const [key, name, help] of gauges) {
    frame.metrics.gauge({ name, help, read: () => engine.stats()[key] });
  }
}
