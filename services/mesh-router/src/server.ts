/** Builds a mesh-router from its configuration. Reads top to bottom in the order of dependence. */

import { randomBytes } from "node:crypto";
import { hostname } from "node:os";
import { fileURLToPath } from "node:url";
import type { ConfigManager } from "@nexus/core";
import { createListener, createPool, migrate, type Pool } from "@nexus/postgres";
import {
  AgentSessionService,
  DeadMessageService,
  DispatchService,
  MessagingService,
} from "@nexus/proto/mesh";
import { RegistryService } from "@nexus/proto/registry";
import { createRpcClient, WireWriter } from "@nexus/rpc";
import {
  createServiceFrame,
  type RunningService,
  type ServerOverrides,
  type ServiceFrame,
} from "@nexus/runtime";
import { type Clock, NEXUS_VERSION } from "@nexus/shared";
import { AgentWatcher } from "./clients/agent-watcher.ts";
import { createLeaseClient } from "./clients/lease-client.ts";
import { createPresenceClient } from "./clients/presence-client.ts";
import type { MeshRouterConfig } from "./config.ts";
import { DispatchHub } from "./domain/dispatch/dispatch-hub.ts";
import { SLOT_NEWS_MS, SLOT_TURN_MS } from "./domain/limits.ts";
import type { SessionName } from "./domain/message/carried.ts";
import { createMessageParts, type MessageParts } from "./domain/message/message-parts.ts";
import { PresenceBoard } from "./domain/session/presence.ts";
import { SessionDirectory } from "./domain/session/session-directory.ts";
import { SessionLifecycle } from "./domain/session/session-lifecycle.ts";
import { SessionOpener } from "./domain/session/session-opener.ts";
import { StandingJournal } from "./domain/topic/standing-journal.ts";
import { createMeshEvents, createMeshGauges, type MeshEvents } from "./events.ts";
import {
  createAgentSessionRelay,
  createDeadMessageHandlers,
  createDispatchRelay,
  createEnvelopeEncoder,
  createMessagingHandlers,
  TurnScheduler,
} from "./handlers/index.ts";
import { createMailWriter } from "./loops/mail-writer.ts";
import { createPresenceReporter } from "./loops/presence-reporter.ts";
import { createRouterRenewal } from "./loops/router-renewal.ts";
import { createStandingWriter } from "./loops/standing-writer.ts";
import { createDeadMessageStore } from "./store/dead-message-store.ts";
import { dailyTables, keepDays } from "./store/mail-partitions.ts";
import { createMailStore, MAIL_CHANNEL, type PostgresMailStore } from "./store/mail-store.ts";
import { createRouteStore } from "./store/route-store.ts";
import { type ClosableSessionStore, createSessionStore } from "./store/session-store.ts";
import {
  type ClosableSubscriptionStore,
  createSubscriptionStore,
  SUBSCRIPTION_CHANNEL,
} from "./store/subscription-store.ts";

const SCHEMA = "mesh";
const MIGRATIONS = fileURLToPath(new URL("../migrations", import.meta.url));
/** A replica that has not renewed itself for two of these is taken for dead. */
const ROUTER_GRACE_LOST_AFTERS = 2;
const RENEWALS_PER_LOST_AFTER = 3;
const SWEEPS_PER_LOST_AFTER = 20;
const MESSAGE_EXPIRY_INTERVAL_MS = 50;
const PRESENCE_STEP_MS = 1_000;
const STANDING_STEP_MS = 1_000;
/** Acknowledgements ride along with other commits; when there are none, they wait this long. */
const MAIL_STEP_MS = 20;
const MAIL_EXPIRY_INTERVAL_MS = 5_000;
const MAIL_EXPIRY_BATCH = 500;
const PARTITION_INTERVAL_MS = 600_000;

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
    const pool = await openPool(frame, current);
    const store = await openStore({ frame, config: current, pool, routerId });
    const mail = createMailStore({ pool, clock });
    const subscriptionStore = createSubscriptionStore(pool);
    frame.defer("subscriptions", () => subscriptionStore.close());
    const mesh = createMesh({ frame, config: current, store, mail, subscriptionStore, clock });
    await frame.untilUp("subscriptions", () => mesh.subscriptions.refreshAll());
    addServices({ frame, config: current, mesh, pool, clock, routerId });
    addLoops({ frame, config: current, mesh, clock, store, routerId });
    await addMailLoops({ frame, config: current, mesh, clock, pool, mail });
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
interface Mesh extends MessageParts {
  readonly events: MeshEvents;
  readonly directory: SessionDirectory;
  readonly hub: DispatchHub;
  readonly board: PresenceBoard;
  readonly journal: StandingJournal;
  readonly lifecycle: SessionLifecycle;
  readonly opener: SessionOpener;
  /** What loops start when there is news; set once they exist. */
  readonly wake: { presence: () => void; standing: () => void; mail: () => void };
}

interface Parts {
  readonly frame: ServiceFrame;
  readonly config: MeshRouterConfig;
  readonly clock: Clock;
}

async function openPool(frame: ServiceFrame, config: MeshRouterConfig): Promise<Pool> {
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
  return pool;
}

async function openStore({
  frame,
  config,
  pool,
  routerId,
}: Omit<Parts, "clock"> & { pool: Pool; routerId: string }): Promise<ClosableSessionStore> {
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
  mail,
  subscriptionStore,
}: Parts & {
  store: ClosableSessionStore;
  mail: PostgresMailStore;
  subscriptionStore: ClosableSubscriptionStore;
}): Mesh {
  const { lostAfterMs, sessionsMax } = config;
  const events = createMeshEvents(frame.metrics, frame.logger);
  const wake = { presence: () => undefined, standing: () => undefined, mail: () => undefined };
  const directory = new SessionDirectory();
  const board = new PresenceBoard(() => wake.presence());
  const journal = new StandingJournal(() => wake.standing());
  const leases = createLeaseClient({
    channel: frame.channel(config.orchestratorAddress, "orchestrator"),
    tokens: frame.tokens,
  });
  frame.defer("lease checks", () => leases.close());
  const parts = createMessageParts({
    directory,
    mail,
    subscriptionStore,
    leases,
    events,
    clock,
    idPrefix: `${randomBytes(6).toString("base64url")}.`,
    limits: config,
    encodeEnvelope: createEnvelopeEncoder(),
    wakeMail: () => wake.mail(),
  });
  const { engine, office, desk } = parts;
  const hub = new DispatchHub({ directory, events, onTally: (session) => board.touch(session) });
  const observers = [hub, { sessionChanged: board.touch.bind(board) }, ...parts.observers];
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
    mailWaiting: () => office.waiting,
    mailUnacknowledged: () => desk.unacknowledged,
    mailBytes: () => desk.bytes,
    longestInbox: () => directory.longestInbox(),
  });
  return { ...parts, events, wake, directory, hub, board, journal, lifecycle, opener };
}

function addServices({
  frame,
  config,
  mesh,
  pool,
  clock,
  routerId,
}: Parts & { mesh: Mesh; pool: Pool; routerId: string }): void {
  const { engine, hub, lifecycle, opener, events, messages, subscriptions } = mesh;
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
        messages,
        subscriptions,
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
    .add(
      MessagingService,
      createMessagingHandlers({
        ...mesh,
        routes: createRouteStore(pool),
        clock,
        ids: frame.ids,
      }),
    )
    .add(
      DeadMessageService,
      createDeadMessageHandlers({ deadMessages: createDeadMessageStore(pool) }),
    );
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
  const channel = frame.channel(config.registryAddress, "registry");
  const registry = createPresenceClient({ channel, tokens: frame.tokens, routerId });
  const client = createRpcClient(RegistryService, channel, { tokens: frame.tokens });
  const watcher = new AgentWatcher({ client, agents: mesh.agents, events: mesh.events });
  frame.defer("agent watch", () => watcher.close());
  const { board, directory, engine, events, hub, lifecycle } = mesh;
  frame.loop({
    name: "session-sweep",
    intervalMs: lostAfterMs / SWEEPS_PER_LOST_AFTER,
    step: async () => lifecycle.sweep(nowMs()),
  });
  frame.loop({
    name: "message-expiry",
    intervalMs: MESSAGE_EXPIRY_INTERVAL_MS,
    step: async () => {
      engine.expire(nowMs());
      mesh.office.expire(nowMs());
    },
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

async function addMailLoops(
  parts: Parts & { mesh: Mesh; pool: Pool; mail: PostgresMailStore },
): Promise<void> {
  const { frame, config, mesh, pool, mail } = parts;
  const { office, desk, events, wake } = mesh;
  const days = dailyTables(config.deadMessagesKeptMs);
  await frame.untilUp("partitions", () => keepDays(pool, days));
  frame.loop({
    name: "mail-partitions",
    intervalMs: PARTITION_INTERVAL_MS,
    step: () => keepDays(pool, days),
  });
  frame.loop({
    name: "mail-expiry",
    intervalMs: MAIL_EXPIRY_INTERVAL_MS,
    step: async (signal) => {
      desk.giveUpExpired();
      while (!signal.aborted && (await mail.buryExpired(MAIL_EXPIRY_BATCH)) === MAIL_EXPIRY_BATCH);
    },
  });
  // Acknowledgements of the last moment: without them they would be delivered once more.
  frame.defer("mail", () => office.work());
  const writer = frame.loop({
    name: "mail-writer",
    intervalMs: MAIL_STEP_MS,
    step: createMailWriter({ office, events }),
  });
  wake.mail = () => writer.trigger();
  addListener({ frame, config, mesh });
}

/** Hears what other replicas wrote. Notices may be missed while the connection is away, so then everything is read again. */
function addListener({ frame, config, mesh }: Omit<Parts, "clock"> & { mesh: Mesh }): void {
  const { desk, book, subscriptions, events } = mesh;
  const onFailure = (error: unknown): void => events.subscriptionsFailed(error);
  const listener = createListener({
    url: config.databaseUrl,
    channels: [MAIL_CHANNEL, SUBSCRIPTION_CHANNEL],
    onNotify: (channel, notice) => {
      if (channel === MAIL_CHANNEL) {
        for (const id of notice.split(",")) desk.refreshById(BigInt(id));
      } else {
        const [namespace = "", agentId = ""] = notice.split("/");
        subscriptions.refresh(namespace, agentId).catch(onFailure);
      }
    },
    onReconnect: () => {
      for (const { mailbox } of book.readers()) desk.refreshById(mailbox.mailboxId);
      subscriptions.refreshAll().catch(onFailure);
    },
    logger: frame.logger,
    applicationName: "nexus-mesh-router-listener",
  });
  frame.defer("listener", () => listener.close());
}
