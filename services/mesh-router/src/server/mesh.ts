/** Everything that the router holds in memory, and how it hangs together. */
import { randomBytes } from "node:crypto";
import type { Bus } from "@nexus/bus";
import type { ServiceFrame } from "@nexus/runtime";
import type { Clock } from "@nexus/shared";
import { createLeaseClient } from "../clients/lease-client.ts";
import { createReplicaLink } from "../clients/replica-link.ts";
import { DispatchHub } from "../domain/dispatch/dispatch-hub.ts";
import type { LeasePort } from "../domain/message/lease-gate.ts";
import { createMessageParts, type MessageParts } from "../domain/message/message-parts.ts";
import { PresenceBoard } from "../domain/session/presence.ts";
import { SessionDirectory } from "../domain/session/session-directory.ts";
import { SessionLifecycle } from "../domain/session/session-lifecycle.ts";
import { SessionOpener } from "../domain/session/session-opener.ts";
import { StandingJournal } from "../domain/topic/standing-journal.ts";
import { createMeshEvents, createMeshGauges, type MeshEvents } from "../events.ts";
import { createEnvelopeEncoder } from "../handlers/index.ts";
import { createLocator } from "../store/route-store.ts";
import type { Parts } from "./parts.ts";
import type { MeshStores } from "./stores.ts";

/** Everything that holds state in memory. */
export interface Mesh extends MessageParts {
  readonly events: MeshEvents;
  /** Other replicas. */
  readonly bus: Bus;
  readonly directory: SessionDirectory;
  readonly hub: DispatchHub;
  readonly board: PresenceBoard;
  readonly journal: StandingJournal;
  readonly lifecycle: SessionLifecycle;
  readonly opener: SessionOpener;
  readonly leases: LeasePort;
  /** What loops start when there is news; set once they exist. */
  readonly wake: Wake;
}

/** Each is called when its loop has something to do. */
interface Wake {
  presence: () => void;
  standing: () => void;
  mail: (when: "now" | "soon") => void;
  slots: () => void;
  roster: () => void;
  /** Hears a notice of changed state; empty: some may have been missed. */
  state: (notice: string) => void;
}

function createLeases(frame: ServiceFrame, orchestratorAddress: string) {
  const channel = frame.channel(orchestratorAddress, "orchestrator");
  const leases = createLeaseClient({ channel, tokens: frame.tokens });
  frame.defer("lease checks", () => leases.close());
  return leases;
}

function createWake(): Wake {
  const idle = (): void => undefined;
  return { presence: idle, standing: idle, mail: idle, slots: idle, roster: idle, state: idle };
}

/** Creates the parts and ties them together. */
export function createMesh({
  frame,
  config,
  clock,
  stores,
  bus,
  routerId,
}: Parts & { readonly stores: MeshStores; readonly bus: Bus }): Mesh {
  const store = stores.sessions;
  const { lostAfterMs, sessionsMax } = config;
  const events = createMeshEvents(frame.metrics, frame.logger);
  const wake = createWake();
  const directory = new SessionDirectory();
  const board = new PresenceBoard(() => wake.presence());
  const journal = new StandingJournal(() => wake.standing());
  const leases = createLeases(frame, config.orchestratorAddress);
  const parts = createMessageParts({
    replicaId: routerId,
    isAlone: config.busDriver === "memory",
    link: createReplicaLink(bus, clock),
    locator: createLocator(stores.pool),
    onLocateFailed: (error) => events.locateFailed(error),
    wakeRoster: () => wake.roster(),
    directory,
    mail: stores.mail,
    subscriptionStore: stores.subscriptions,
    leases,
    events,
    clock,
    idPrefix: `${randomBytes(6).toString("base64url")}.`,
    limits: config,
    encodeEnvelope: createEnvelopeEncoder(),
    wakeMail: (when) => wake.mail(when),
  });
  const { engine, exchange } = parts;
  const hub = new DispatchHub({
    directory,
    events,
    onTally: (session) => board.touch(session),
    onSlotNews: () => wake.slots(),
  });
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
  exchange.bind(engine, (session) => lifecycle.moved(session));
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
  const own = { bus, events, wake, directory, hub, board, journal, lifecycle, opener, leases };
  const mesh = { ...parts, ...own };
  exportReadings(frame, mesh, clock);
  return mesh;
}

function exportReadings(frame: ServiceFrame, mesh: Mesh, clock: Clock): void {
  const { directory, hub, engine, office, desk, exchange, book, messages } = mesh;
  createMeshGauges(frame.metrics, {
    sessions: () => directory.size,
    orchestrators: () => hub.links,
    pendingMessages: () => engine.pending,
    pendingBytes: () => engine.pendingBytes,
    heldMessages: () => messages.held,
    openBreakers: () => directory.openBreakers(clock.nowMs()),
    longestMailbox: () => book.longest(),
    mailWaiting: () => office.waiting,
    mailUnacknowledged: () => desk.unacknowledged,
    mailBytes: () => desk.bytes,
    remoteAgents: () => exchange.rosters.size,
    soughtAgents: () => exchange.seeking,
    longestInbox: () => directory.longestInbox(),
  });
}
