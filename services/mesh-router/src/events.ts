/** What happened, as metrics and log lines. Hot events are counted only; labels are closed sets. */
import { type Logger, NexusError } from "@nexus/shared";
import type { Metrics } from "@nexus/telemetry";
import { Counter } from "prom-client";
import type { MailEvents } from "./domain/mail/mail-ports.ts";
import type { RefusalReason, UpdateKind } from "./domain/message/carried.ts";
import { OUTCOMES, type Outcome } from "./domain/message/letter.ts";
import type { DispatchEvents, MessageEvents, ReportEvents, SessionEvents } from "./domain/ports.ts";

/** Every event of the router. */
export interface MeshEvents
  extends DispatchEvents,
    MessageEvents,
    MailEvents,
    SessionEvents,
    ReportEvents {
  frameSent(to: "agent" | "orchestrator"): void;
}

/** What the gauges read at each scrape. */
export interface MeshReadings {
  readonly sessions: () => number;
  readonly orchestrators: () => number;
  readonly pendingMessages: () => number;
  readonly pendingBytes: () => number;
  readonly heldMessages: () => number;
  readonly openBreakers: () => number;
  readonly longestMailbox: () => number;
  readonly mailWaiting: () => number;
  readonly mailUnacknowledged: () => number;
  readonly mailBytes: () => number;
  readonly remoteAgents: () => number;
  readonly soughtAgents: () => number;
  readonly longestInbox: () => number;
}

/** Seconds from acceptance to acknowledgement: a local hop to a slow agent. */
const LATENCY_BUCKETS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1, 5, 30];

/** Creates the gauges, which read the parts they describe. */
export function createMeshGauges(metrics: Metrics, readings: MeshReadings): void {
  metrics.gauge({
    name: "sessions",
    help: "Sessions held, with or without a stream.",
    read: readings.sessions,
  });
  metrics.gauge({
    name: "orchestrators",
    help: "Dispatch streams open.",
    read: readings.orchestrators,
  });
  metrics.gauge({
    name: "messages_pending",
    help: "Messages without an outcome.",
    read: readings.pendingMessages,
  });
  metrics.gauge({
    name: "messages_pending_bytes",
    help: "Bodies of ephemeral messages and replies that were not written to their receivers yet.",
    read: readings.pendingBytes,
  });
  metrics.gauge({
    name: "messages_held",
    help: "Messages that wait until it is known whether the lease they were sent under holds.",
    read: readings.heldMessages,
  });
  metrics.gauge({
    name: "breakers_open",
    help: "Receivers that are spared further messages, because they acknowledge none.",
    read: readings.openBreakers,
  });
  metrics.gauge({
    name: "mailbox_longest_messages",
    help: "Durable messages in the longest mailbox that is read here.",
    read: readings.longestMailbox,
  });
  metrics.gauge({
    name: "inbox_longest_messages",
    help: "Ephemeral messages that wait for the credit of the slowest receiver.",
    read: readings.longestInbox,
  });
  metrics.gauge({
    name: "mail_uncommitted_messages",
    help: "Durable messages that wait for their commit.",
    read: readings.mailWaiting,
  });
  metrics.gauge({
    name: "mail_unacknowledged_messages",
    help: "Deliveries of durable messages that wait for their receivers' word.",
    read: readings.mailUnacknowledged,
  });
  metrics.gauge({
    name: "routes_elsewhere",
    help: "Agents known to have their sessions at other replicas.",
    read: readings.remoteAgents,
  });
  metrics.gauge({
    name: "routes_sought",
    help: "Agents that are being looked for, because their route was unknown or stale.",
    read: readings.soughtAgents,
  });
  metrics.gauge({
    name: "mail_memory_bytes",
    help: "Durable messages held in memory.",
    read: readings.mailBytes,
  });
}

/** Creates the events of one router. */
export function createMeshEvents(metrics: Metrics, logger: Logger): MeshEvents {
  return {
    ...sessionEvents(metrics, logger),
    ...dispatchEvents(metrics, logger),
    ...messageEvents(metrics),
    ...mailEvents(metrics),
    ...reportEvents(metrics, logger),
  };
}

function sessionEvents(metrics: Metrics, logger: Logger): SessionEvents {
  const opened = metrics.counter({
    name: "sessions_opened_total",
    help: "Sessions opened or resumed.",
    labels: ["resumed"],
  });
  const detached = metrics.counter({
    name: "sessions_detached_total",
    help: "Streams that ended without a goodbye.",
  });
  const ended = metrics.counter({
    name: "sessions_ended_total",
    help: "Sessions that ended, by cause.",
    labels: ["cause"],
  });
  const describe = ({
    namespace,
    agentId,
    epoch,
  }: Parameters<SessionEvents["sessionDetached"]>[0]) => ({
    namespace,
    agent_id: agentId,
    epoch: Number(epoch),
  });
  return {
    sessionOpened(session, resumed) {
      opened.inc({ resumed: String(resumed) });
      logger.debug({ ...describe(session), resumed }, "session opened");
    },
    sessionDetached(session) {
      detached.inc();
      logger.debug(describe(session), "session detached");
    },
    sessionEnded(session, cause) {
      ended.inc({ cause });
      logger.info({ ...describe(session), cause }, "session ended");
    },
  };
}

function dispatchEvents(
  metrics: Metrics,
  logger: Logger,
): DispatchEvents & Pick<MeshEvents, "frameSent"> {
  const refused = metrics.counter({
    name: "assignments_refused_total",
    help: "Assignments that did not reach their agent, by reason.",
    labels: ["reason"],
  });
  const dropped = metrics.counter({
    name: "updates_dropped_total",
    help: "Task updates that did not reach an orchestrator, by kind.",
    labels: ["kind"],
  });
  const frames = new Counter({
    name: "nexus_mesh_router_frames_sent_total",
    help: "Frames sent, by receiver.",
    labelNames: ["to"],
    registers: [metrics.registry],
  });
  const frameCounters = {
    agent: frames.labels("agent"),
    orchestrator: frames.labels("orchestrator"),
  };
  return {
    orchestratorAttached: (orchestratorId) =>
      logger.info({ orchestrator_id: orchestratorId }, "orchestrator attached"),
    orchestratorDetached: (orchestratorId) =>
      logger.info({ orchestrator_id: orchestratorId }, "orchestrator detached"),
    assignmentRefused: (reason: RefusalReason) => refused.inc({ reason }),
    updateDropped: (kind: UpdateKind) => dropped.inc({ kind }),
    frameSent: (to) => frameCounters[to].inc(),
  };
}

function messageEvents(metrics: Metrics): MessageEvents {
  // Counted by hand and handed over at each scrape: the metric looks its labels up each time.
  const counts = Object.fromEntries(OUTCOMES.map((outcome) => [outcome, 0])) as Record<
    Outcome,
    number
  >;
  const settled = new Counter({
    name: "nexus_mesh_router_messages_total",
    help: "Messages by outcome.",
    labelNames: ["outcome"],
    registers: [metrics.registry],
    collect: () => {
      for (const outcome of OUTCOMES) {
        settled.inc({ outcome }, counts[outcome]);
        counts[outcome] = 0;
      }
    },
  });
  const latency = metrics.histogram({
    name: "message_delivery_seconds",
    help: "Time from a message's acceptance to its receiver's acknowledgement.",
    buckets: LATENCY_BUCKETS,
  });
  return {
    messageSettled: (outcome) => {
      counts[outcome] += 1;
    },
    messageDelivered: (latencyMs) => latency.observe(latencyMs / 1_000),
  };
}

function mailEvents(metrics: Metrics): MailEvents {
  const counter = (name: string, help: string, label?: string) =>
    new Counter({
      name: `nexus_mesh_router_${name}`,
      help,
      labelNames: label === undefined ? [] : [label],
      registers: [metrics.registry],
    });
  const stored = counter("mail_stored_total", "Durable messages committed.");
  const duplicates = counter("mail_duplicates_total", "Durable messages that were stored before.");
  const delivered = counter("mail_delivered_total", "Deliveries of durable messages.", "again");
  const first = delivered.labels("false");
  const again = delivered.labels("true");
  const acknowledged = counter("mail_acknowledged_total", "Durable messages acknowledged.");
  const failed = counter("mail_failed_total", "Deliveries of durable messages that failed.");
  const died = counter("mail_died_total", "Durable messages given up, by reason.", "reason");
  return {
    mailStored: (count) => stored.inc(count),
    mailDuplicate: () => duplicates.inc(),
    mailDelivered: (isAgain) => (isAgain ? again : first).inc(),
    mailAcknowledged: () => acknowledged.inc(),
    mailFailed: () => failed.inc(),
    mailDied: (reason) => died.inc({ reason }),
  };
}

/** Creates what counts batches of mail that were written in vain. */
export function createRewriteCounter(metrics: Metrics): () => void {
  const rewritten = metrics.counter({
    name: "mail_batches_rewritten_total",
    help: "Batches of durable messages that were written once more, as some of them had been stored before.",
  });
  return () => rewritten.inc();
}

function reportEvents(metrics: Metrics, logger: Logger): ReportEvents {
  const reported = metrics.counter({
    name: "presences_reported_total",
    help: "Presences that the registry took in, by whether it knew the agent.",
    labels: ["known"],
  });
  const failures = metrics.counter({
    name: "reports_failed_total",
    help: "Reports that failed, by receiver.",
    labels: ["to"],
  });
  return {
    presenceReported(count, unknown) {
      reported.inc({ known: "true" }, count - unknown);
      if (unknown > 0) reported.inc({ known: "false" }, unknown);
    },
    presenceFailed(error) {
      failures.inc({ to: "registry" });
      logger.warn({ err: error }, "presence could not be reported; it is repeated");
    },
    renewalFailed(error) {
      failures.inc({ to: "store" });
      logger.warn({ err: error }, "the replica could not renew itself; it is repeated");
    },
    agentWatchFailed(error) {
      if (!NexusError.isPlannedEnd(error)) failures.inc({ to: "agents" });
      logger[NexusError.levelOfEnd(error)](
        { err: error },
        "the watch of agents ended; watching again",
      );
    },
    subscriptionsFailed(error) {
      failures.inc({ to: "subscriptions" });
      logger.warn({ err: error }, "subscriptions could not be read; they are read again");
    },
    locateFailed(error) {
      failures.inc({ to: "routes" });
      logger.warn({ err: error }, "it could not be found out where agents are");
    },
    mailWriteFailed(error) {
      failures.inc({ to: "mail" });
      logger.warn({ err: error }, "mail could not be written or read; it is tried again");
    },
  };
}
