/** Everything that the router holds in memory, and how it hangs together. */
import { randomBytes } from "node:crypto";
import type { Bus } from "@nexus/bus";
import { createLeaseClient } from "../clients/lease-client.ts";
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
  readonly wake: { presence: () => void; standing: () => void; mail: () => void };
}

/** Creates the parts and ties them together. */
export function createMesh({
  frame,
  config,
  clock,
  stores,
  bus,
}: Parts & { readonly stores: MeshStores; readonly bus: Bus }): Mesh {
  const store = stores.sessions;
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
    mail: stores.mail,
    subscriptionStore: stores.subscriptions,
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
  return { ...parts, bus, events, wake, directory, hub, board, journal, lifecycle, opener, leases };
}
