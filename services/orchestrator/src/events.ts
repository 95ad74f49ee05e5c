/** One function per business event: its metric, and a log line where an operator acts on it. */
import { type Logger, NexusError } from "@nexus/shared";
import { COUNT_BUCKETS, type Metrics } from "@nexus/telemetry";
import type { EngineEvents, FlushKind } from "./domain/ports.ts";

/** Reasons are free text of agents and routers; only these become label values. */
const REFUSAL_REASONS: ReadonlySet<string> = new Set([
  "NO_SESSION",
  "EPOCH_MISMATCH",
  "DETACHED",
  "DRAINING",
  "SESSION_TOO_SLOW",
  "NO_SLOT",
]);

/** Events outside of the engine. */
export interface OrchestratorEvents extends EngineEvents {
  outcomesSent(receiver: string, count: number): void;
  outcomesDropped(receiver: string, count: number, why: string): void;
  outboxDepth(rows: number): void;
  streamOpened(router: string): void;
  streamLost(router: string, error: unknown): void;
}

/** Creates the events of this service. */
export function createEvents(metrics: Metrics, logger: Logger): OrchestratorEvents {
  return { ...workEvents(metrics, logger), ...outsideEvents(metrics, logger) };
}

function workEvents(metrics: Metrics, logger: Logger): EngineEvents {
  const jobs = counter(metrics, "jobs_submitted_total", "Jobs committed.");
  const tasks = counter(metrics, "tasks_submitted_total", "Tasks committed.");
  const assignments = counter(metrics, "assignments_total", "Assignments handed to a router.");
  const latency = metrics.histogram({
    name: "assignment_latency_seconds",
    help: "From a task being ready to its assignment being handed to a router.",
  });
  const ended = metrics.counter({
    name: "attempts_ended_total",
    help: "Ended attempts by outcome and by what followed for the task.",
    labels: ["outcome", "next"],
  });
  const refused = metrics.counter({
    name: "assignments_refused_total",
    help: "Assignments that did not reach their agent.",
    labels: ["reason"],
  });
  const lost = counter(metrics, "leases_lost_total", "Leases ended because their session was.");
  const expired = counter(metrics, "tasks_expired_total", "Tasks that found no agent in time.");
  const finished = metrics.counter({
    name: "jobs_ended_total",
    help: "Jobs that became terminal, by state.",
    labels: ["state"],
  });
  const removed = {
    jobs: counter(metrics, "jobs_removed_total", "Jobs removed because they ended long ago."),
    tasks: counter(metrics, "tasks_removed_total", "Tasks removed with their jobs."),
  };
  const dropped = metrics.counter({
    name: "updates_dropped_total",
    help: "Updates of agents that were not taken in; agents repeat terminal ones.",
    labels: ["why"],
  });
  return {
    ...flushEvents(metrics, logger),
    submitted(newJobs, newTasks) {
      jobs.inc(newJobs);
      tasks.inc(newTasks);
    },
    assigned(seconds) {
      assignments.inc(seconds.length);
      for (const wait of seconds) latency.observe(wait);
    },
    settled: (outcome, next, count) => ended.inc({ outcome, next }, count),
    refused: (reason) => refused.inc({ reason: REFUSAL_REASONS.has(reason) ? reason : "other" }),
    agentLost: (leases) => lost.inc(leases),
    expired: (count) => expired.inc(count),
    jobsEnded: (state) => finished.inc({ state }),
    removed(oldJobs, oldTasks) {
      removed.jobs.inc(oldJobs);
      removed.tasks.inc(oldTasks);
    },
    updateDropped: (why) => dropped.inc({ why }),
    loaded: (shards, ready, leases) =>
      logger.info({ shards, ready, leases }, "waiting and running tasks loaded"),
  };
}

function flushEvents(
  metrics: Metrics,
  logger: Logger,
): Pick<EngineEvents, "flushed" | "flushFailed"> {
  const labels = ["kind"] as const;
  const items = metrics.histogram({
    name: "flush_items",
    help: "Items committed together.",
    labels,
    buckets: COUNT_BUCKETS,
  });
  const seconds = metrics.histogram({
    name: "flush_seconds",
    help: "From the start of a flush to its commit, the wait for other flushes included.",
    labels,
  });
  const failures = metrics.counter({
    name: "flush_failures_total",
    help: "Flushes that did not commit; updates are tried again.",
    labels,
  });
  return {
    flushed(kind, count, duration) {
      items.observe({ kind }, count);
      seconds.observe({ kind }, duration);
    },
    flushFailed(kind: FlushKind, error) {
      failures.inc({ kind });
      logger.warn({ kind, err: error }, "flush failed");
    },
  };
}

function outsideEvents(
  metrics: Metrics,
  logger: Logger,
): Omit<OrchestratorEvents, keyof EngineEvents> {
  const sent = metrics.counter({
    name: "outcomes_sent_total",
    help: "Outcomes acknowledged, by receiver.",
    labels: ["receiver"],
  });
  const lost = metrics.counter({
    name: "outcomes_dropped_total",
    help: "Outcomes that a receiver refused, or that were dropped at the outbox's limit.",
    labels: ["receiver"],
  });
  const depth = metrics.gauge({
    name: "outbox_rows",
    help: "Outcomes that registry or insight has not acknowledged yet, about.",
  });
  const streams = metrics.gauge({
    name: "dispatch_streams",
    help: "Open streams to mesh-routers.",
  });
  return {
    outcomesSent: (receiver, count) => sent.inc({ receiver }, count),
    outcomesDropped(receiver, count, why) {
      lost.inc({ receiver }, count);
      logger.warn({ receiver, count, why }, "outcomes dropped");
    },
    outboxDepth: (rows) => depth.set(rows),
    streamOpened(router) {
      streams.inc(1);
      logger.info({ router }, "dispatch stream open");
    },
    streamLost(router, error) {
      streams.dec(1);
      logger[NexusError.levelOfEnd(error)]({ router, err: error }, "dispatch stream lost");
    },
  };
}

function counter(metrics: Metrics, name: string, help: string) {
  return metrics.counter({ name, help });
}
