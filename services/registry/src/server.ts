/** Puts the registry together. Reads top to bottom in the order of dependency; the frame closes in reverse. */
import { fileURLToPath } from "node:url";
import { keepServiceAudit } from "@nexus/audit";
import type { ConfigManager } from "@nexus/core";
import { createListener, createPool, migrate, type Pool } from "@nexus/postgres";
import { OutcomeService, PresenceService, RegistryService } from "@nexus/proto/registry";
import {
  createServiceFrame,
  type RunningService,
  type ServerOverrides,
  type ServiceFrame,
  usePool,
} from "@nexus/runtime";
import type { RegistryConfig } from "./config.ts";
import { createAgentDiscovery } from "./domain/agent-discovery.ts";
import { createAgentLifecycle } from "./domain/agent-lifecycle.ts";
import { createAgentRegistry } from "./domain/agent-registry.ts";
import { AgentWatches } from "./domain/agent-watches.ts";
import { CapabilityIndex } from "./domain/capability-index.ts";
import { IndexFollower } from "./domain/index-follower.ts";
import type { RegistryEvents } from "./domain/ports.ts";
import { createReputationTracker } from "./domain/reputation-tracker.ts";
import { createEvents } from "./events.ts";
import { createHandlers } from "./handlers/index.ts";
import { pruneFeed, pruneMemory, tickWatches } from "./loops/housekeeping-loops.ts";
import { announceChanges, followChanges, refreshSeen } from "./loops/index-loops.ts";
import { expirePresence, expireRecords } from "./loops/lifecycle-loops.ts";
import { createAgentStore } from "./store/agent-store.ts";
import { CHANGE_CHANNEL, createChangeFeed } from "./store/change-feed.ts";
import { createIndexSource } from "./store/index-source.ts";
import { createPresenceStore } from "./store/presence-store.ts";
import { createReputationStore, forgetStreams } from "./store/reputation-store.ts";
import { pruneRequests } from "./store/request-store.ts";

const SCHEMA = "registry";
const MIGRATIONS = fileURLToPath(new URL("../migrations/", import.meta.url));

/** Starts the registry: migrates, builds the index, then serves. Resolves when calls are taken. */
export async function startServer(
  config: ConfigManager<RegistryConfig>,
  overrides?: ServerOverrides,
): Promise<RunningService> {
  const frame = await createServiceFrame({ service: "registry", config, overrides });
  try {
    const pool = openPool(frame, config.current);
    await frame.untilUp("postgres", () => migrate(pool, { schema: SCHEMA, directory: MIGRATIONS }));
    keepServiceAudit(frame, { pool, vaultAddress: config.current.vaultAddress });
    const events = createEvents(frame.metrics, frame.logger);
    const { index, watches, follower, onChange } = openIndex(frame, pool, {
      config: config.current,
      events,
    });
    await frame.untilUp("postgres", () => follower.load());
    serve(frame, pool, { config: config.current, events, index, watches, follower, onChange });
    return await frame.start();
  } catch (error) {
    await frame[Symbol.asyncDispose]();
    throw error;
  }
}

function openPool(frame: ServiceFrame, config: RegistryConfig): Pool {
  const pool = createPool({
    url: config.databaseUrl,
    max: config.databasePoolMax,
    applicationName: "nexus-registry",
    schema: SCHEMA,
    statementTimeoutMs: config.statementTimeoutMs,
    logger: frame.logger,
  });
  usePool(frame, pool);
  return pool;
}

interface IndexParts {
  readonly index: CapabilityIndex;
  readonly watches: AgentWatches;
  readonly follower: IndexFollower;
  /** Own commits call it: the index and the other replicas take them in at once. */
  readonly onChange: () => void;
}

interface Settings {
  readonly config: RegistryConfig;
  readonly events: RegistryEvents;
}

function openIndex(frame: ServiceFrame, pool: Pool, { config, events }: Settings): IndexParts {
  const index = new CapabilityIndex();
  const watches = new AgentWatches(frame.clock, () => events.watcherTooSlow());
  frame.defer("watches", () => watches.close());
  const feed = createChangeFeed(pool);
  const source = createIndexSource(pool);
  const replicaId = frame.ids.next("replica");
  const onChange = (): void => {
    follow.trigger();
    announce.trigger();
  };
  const follower = new IndexFollower({ feed, source, index, watches, events, onBehind: onChange });
  const follow = frame.loop(followChanges(follower, config.feedPollIntervalMs));
  const announce = frame.loop(announceChanges(() => feed.announce(replicaId)));
  frame.loop(refreshSeen(index, (sinceMs) => source.seenSince(sinceMs)));
  frame.loop(tickWatches(watches));
  const listener = createListener({
    url: config.databaseUrl,
    channels: [CHANGE_CHANNEL],
    onNotify: (_channel, pokedBy) => {
      if (pokedBy !== replicaId) follow.trigger();
    },
    onReconnect: () => follow.trigger(),
    logger: frame.logger,
    applicationName: "nexus-registry-listener",
  });
  frame.defer("listener", () => listener.close());
  frame.metrics.gauge({
    name: "indexed_agents",
    help: "Agents in the index of this replica.",
    read: () => index.size,
  });
  frame.metrics.gauge({ name: "watchers", help: "Open watches.", read: () => watches.size });
  return { index, watches, follower, onChange };
}

function serve(frame: ServiceFrame, pool: Pool, parts: Settings & IndexParts): void {
  const { config, events, index, watches, follower, onChange } = parts;
  const { clock } = frame;
  const feed = createChangeFeed(pool);
  const agents = createAgentStore(pool);
  const halfLifeMs = config.reputationHalfLifeMs;
  const lifecycle = createAgentLifecycle({
    presences: createPresenceStore(pool),
    agents,
    clock,
    lostAfterMs: config.presenceLostAfterMs,
    events,
    onChange,
  });
  const handlers = createHandlers({
    registry: createAgentRegistry({
      agents,
      index,
      changes: follower,
      events,
      agentsPerNamespaceMax: config.agentsPerNamespaceMax,
    }),
    discovery: createAgentDiscovery({ index, clock, reputationHalfLifeMs: halfLifeMs }),
    lifecycle,
    reputation: createReputationTracker({
      reputations: createReputationStore(pool),
      halfLifeMs,
      events,
      onChange,
    }),
    watch: { index, feed, watches, position: () => follower },
    reputationClock: () => ({ nowMs: clock.nowMs(), halfLifeMs }),
  });
  frame.loop(expirePresence(lifecycle, config.presenceSweepIntervalMs));
  frame.loop(expireRecords(lifecycle, config.expirySweepIntervalMs));
  const limits = { ageMs: config.feedRetentionMs, rows: config.feedRowsMax };
  frame.loop(pruneFeed(() => feed.prune(limits)));
  frame.loop(pruneMemory([() => pruneRequests(pool), () => forgetStreams(pool)]));
  frame.server.add(RegistryService, handlers.registry);
  frame.server.add(PresenceService, handlers.presence);
  frame.server.add(OutcomeService, handlers.outcome);
}
