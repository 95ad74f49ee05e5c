/** Builds a mesh-router from its configuration. Reads top to bottom in the order of dependence. */
import { randomBytes } from "node:crypto";
import { hostname } from "node:os";
import { fileURLToPath } from "node:url";
import type { ConfigManager } from "@nexus/core";
import { createPool, migrate } from "@nexus/postgres";
import { AgentSessionService, DispatchService, MessagingService } from "@nexus/proto/mesh";
import { WireWriter } from "@nexus/rpc";
import {
  createServiceFrame,
  type RunningService,
  type ServerOverrides,
  type ServiceFrame,
} from "@nexus/runtime";
import { type Clock, NEXUS_VERSION } from "@nexus/shared";
import { createPresenceClient } from "./clients/presence-client.ts";
import type { MeshRouterConfig } from "./config.ts";
import type { SessionName } from "./domain/carried.ts";
import { DispatchHub } from "./domain/dispatch-hub.ts";
import { SLOT_NEWS_MS, SLOT_TURN_MS } from "./domain/limits.ts";
import { MessageEngine } from "./domain/message-engine.ts";
import { PresenceBoard } from "./domain/presence.ts";
import { SessionDirectory } from "./domain/session-directory.ts";
import { SessionLifecycle } from "./domain/session-lifecycle.ts";
import { SessionOpener } from "./domain/session-opener.ts";
import { StandingJournal } from "./domain/standing-journal.ts";
import { createMeshEvents, createMeshGauges, type MeshEvents } from "./events.ts";
import {
  createAgentSessionRelay,
  createDispatchRelay,
  createMessagingHandlers,
  TurnScheduler,
} from "./handlers/index.ts";
import { createPresenceReporter } from "./loops/presence-reporter.ts";
import { createRouterRenewal } from "./loops/router-renewal.ts";
import { createStandingWriter } from "./loops/standing-writer.ts";
import { type ClosableSessionStore, createSessionStore } from "./store/session-store.ts";

const SCHEMA = "mesh";
const MIGRATIONS = fileURLToPath(new URL("../migrations", import.meta.url));
/** A replica that has not renewed itself for two of these is taken for dead. */
const ROUTER_GRACE_LOST_AFTERS = 2;
const RENEWALS_PER_LOST_AFTER = 3;
const SWEEPS_PER_LOST_AFTER = 20;
const MESSAGE_EXPIRY_INTERVAL_MS = 50;
const PRESENCE_STEP_MS = 1_000;
const STANDING_STEP_MS = 1_000;

/** Milliseconds since the epoch that never step back: timeouts must not depend on someone setting the clock. */
const monotonicClock: Clock = { nowMs: () => performance.timeOrigin + performance.now() };

/** Starts a mesh-router; it serves when this resolves.
 *
 * Errors: ConfigError for a taken port; whatever the migrations throw. */
export async function startServer(
  config: ConfigManager<MeshRouterConfig>,
  overrides: ServerOverrides = {},
): Promise<RunningService> {
  const frame = await createServiceFrame({ service: "mesh-router", config, overrides });
  try {
    const clock = overrides.clock ?? monotonicClock;
    const { current } = config;
    const routerId = current.routerId ?? `${hostname()}-${current.grpcPort}`;
    const store = await openStore(frame, current, routerId);
    const mesh = createMesh({ frame, config: current, store, clock });
    addServices({ frame, config: current, mesh, clock, routerId });
    addLoops({ frame, config: current, mesh, clock, store, routerId });
    mesh.lifecycle.adopt(
      await frame.untilUp("sessions", () => store.loadSurvivors(current.lostAfterMs)),
    );
    frame.signal.addEventListener("abort", () =>
      mesh.lifecycle.drain("the router is about to stop", current.reconnectWindowMs),
    );
    return await frame.start();
  } catch (error) {
    await frame[Symbol.asyncDispose]();
    throw error;
  }
}

/** Everything that holds state in memory. */
interface Mesh {
  readonly events: MeshEvents;
  readonly directory: SessionDirectory;
  readonly engine: MessageEngine;
  readonly hub: DispatchHub;
  readonly board: PresenceBoard;
  readonly journal: StandingJournal;
  readonly lifecycle: SessionLifecycle;
  readonly opener: SessionOpener;
  /** What loops start when there is news; set once they exist. */
  readonly wake: { presence: () => void; standing: () => void };
}

interface Parts {
  readonly frame: ServiceFrame;
  readonly config: MeshRouterConfig;
  readonly clock: Clock;
}

async function openStore(
  frame: ServiceFrame,
  config: MeshRouterConfig,
  routerId: string,
): Promise<ClosableSessionStore> {
  const pool = createPool({
    url: config.databaseUrl,
    max: config.databasePoolMax,
    applicationName: "nexus-mesh-router",
    schema: SCHEMA,
    statementTimeoutMs: config.statementTimeoutMs,
    logger: frame.logger,
  });
  frame.defer("postgres", () => pool.close());
  frame.check("postgres", () => pool.query("SELECT 1"));
  await frame.untilUp("postgres", () => migrate(pool, { schema: SCHEMA, directory: MIGRATIONS }));
  const routerGraceMs = config.lostAfterMs * ROUTER_GRACE_LOST_AFTERS;
  const store = createSessionStore({ pool, routerId, routerGraceMs });
  frame.defer("session store", () => store.close());
  await frame.untilUp("router", () => store.renewRouter());
  return store;
}

function createMesh({
  frame,
  config,
  clock,
  store,
}: Parts & { store: ClosableSessionStore }): Mesh {
  const { lostAfterMs, sessionsMax } = config;
  const events = createMeshEvents(frame.metrics, frame.logger);
  const wake = { presence: () => undefined, standing: () => undefined };
  const directory = new SessionDirectory();
  const board = new PresenceBoard(() => wake.presence());
  const journal = new StandingJournal(() => wake.standing());
  const idPrefix = `${randomBytes(6).toString("base64url")}.`;
  const engine = new MessageEngine({ directory, events, idPrefix, nowMs: clock.nowMs() });
  const hub = new DispatchHub({ directory, events, onTally: (session) => board.touch(session) });
  const observers = [hub, { sessionChanged: board.touch.bind(board) }];
  const lifecycle = new SessionLifecycle({
    directory,
    store,
    engine,
    hub,
    journal,
    observers,
    events,
    clock,
    lostAfterMs,
  });
  const opener = new SessionOpener({
    directory,
    lifecycle,
    store,
    journal,
    events,
    clock,
    ids: frame.ids,
    sessionsMax,
  });
  createMeshGauges(frame.metrics, {
    sessions: () => directory.size,
    orchestrators: () => hub.links,
    pendingMessages: () => engine.pending,
  });
  return { events, directory, engine, hub, board, journal, lifecycle, opener, wake };
}

function addServices({
  frame,
  config,
  mesh,
  clock,
  routerId,
}: Parts & { mesh: Mesh; routerId: string }): void {
  const { engine, hub, lifecycle, opener, events } = mesh;
  const { heartbeatIntervalMs, lostAfterMs } = config;
  const turns = new TurnScheduler();
  const writer = new WireWriter();
  frame.server
    .addRaw(
      AgentSessionService,
      createAgentSessionRelay({
        lifecycle,
        opener,
        engine,
        hub,
        clock,
        turns,
        writer,
        heartbeatIntervalMs,
        lostAfterMs,
        serverVersion: NEXUS_VERSION,
        frameSent: () => events.frameSent("agent"),
      }),
    )
    .addRaw(
      DispatchService,
      createDispatchRelay({
        hub,
        turns,
        writer,
        clock,
        routerId,
        frameSent: () => events.frameSent("orchestrator"),
      }),
    )
    .add(MessagingService, createMessagingHandlers({ engine, clock, ids: frame.ids }));
}

function addLoops(
  parts: Parts & { mesh: Mesh; store: ClosableSessionStore; routerId: string },
): void {
  const { frame, config, mesh, clock, store, routerId } = parts;
  const { lostAfterMs } = config;
  const nowMs = (): number => clock.nowMs();
  const writeStandings = createStandingWriter({ journal: mesh.journal, store, nowMs });
  // The streams of a draining router end after the loops' last step; their standings are the last thing stored.
  frame.defer("session standings", writeStandings);
  const channel = frame.channel(config.registryAddress);
  const registry = createPresenceClient({ channel, tokens: frame.tokens, routerId });
  const { board, directory, engine, events, hub, lifecycle } = mesh;
  frame.loop({
    name: "session-sweep",
    intervalMs: lostAfterMs / SWEEPS_PER_LOST_AFTER,
    step: async () => lifecycle.sweep(nowMs()),
  });
  frame.loop({
    name: "message-expiry",
    intervalMs: MESSAGE_EXPIRY_INTERVAL_MS,
    step: async () => void engine.expire(nowMs()),
  });
  addSlotLoops(frame, hub);
  const graceMs = lostAfterMs * ROUTER_GRACE_LOST_AFTERS;
  const onOrphans = (orphans: readonly SessionName[]): void =>
    lifecycle.reportGone(orphans, "orphaned");
  frame.loop({
    name: "router-renewal",
    intervalMs: lostAfterMs / RENEWALS_PER_LOST_AFTER,
    step: createRouterRenewal({ store, events, onOrphans, graceMs, nowMs }),
  });
  const standings = frame.loop({
    name: "standing-writer",
    intervalMs: STANDING_STEP_MS,
    step: writeStandings,
  });
  const refreshMs = config.presenceRefreshMs;
  const presence = frame.loop({
    name: "presence-reporter",
    intervalMs: Math.min(PRESENCE_STEP_MS, refreshMs),
    step: createPresenceReporter({ board, directory, registry, events, refreshMs, nowMs }),
  });
  mesh.wake.presence = () => presence.trigger();
  mesh.wake.standing = () => standings.trigger();
}

function addSlotLoops(frame: ServiceFrame, { slots }: DispatchHub): void {
  frame.loop({ name: "slot-news", intervalMs: SLOT_NEWS_MS, step: async () => slots.tell() });
  frame.loop({ name: "slot-turns", intervalMs: SLOT_TURN_MS, step: async () => slots.turn() });
}
