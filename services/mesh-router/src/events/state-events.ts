/** What happens to state, as metrics and log lines. */
import type { Logger } from "@nexus/shared";
import type { Metrics } from "@nexus/telemetry";
import { Counter } from "prom-client";
import type { StateEvents } from "../domain/state/state-ports.ts";

/** What the gauges read at each scrape. */
export interface StateReadings {
  readonly queued: () => number;
  readonly watches: () => number;
  readonly tailBytes: () => number;
  readonly memoryBytes: () => number;
}

/** Seconds of a commit: a fsync, or a queue behind other replicas. */
const COMMIT_BUCKETS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5];

/** Creates the gauges of state. */
export function createStateGauges(metrics: Metrics, readings: StateReadings): void {
  metrics.gauge({
    name: "state_queued_calls",
    help: "Calls that wait for their commit.",
    read: readings.queued,
  });
  metrics.gauge({ name: "state_watches", help: "Watches of buckets.", read: readings.watches });
  metrics.gauge({
    name: "state_tail_bytes",
    help: "Changes held in memory for watchers.",
    read: readings.tailBytes,
  });
  metrics.gauge({
    name: "state_memory_bytes",
    help: "Keys remembered while nobody else writes their bucket.",
    read: readings.memoryBytes,
  });
}

/** Creates the events of state. */
export function createStateEvents(metrics: Metrics, logger: Logger): StateEvents {
  const counter = (name: string, help: string, label?: string) =>
    new Counter({
      name: `nexus_mesh_router_${name}`,
      help,
      labelNames: label === undefined ? [] : [label],
      registers: [metrics.registry],
    });
  const calls = counter("state_calls_total", "Calls that write, committed or refused.");
  const writes = counter("state_writes_total", "Writes of these calls.");
  const sent = counter("state_changes_sent_total", "Changes sent to watchers.");
  const resyncs = counter("state_resyncs_total", "Watchers that missed changes.", "reason");
  const swept = counter("state_swept_total", "What time removed, by kind.", "kind");
  const failures = counter("state_failures_total", "Steps that failed, by step.", "step");
  const latency = metrics.histogram({
    name: "state_commit_seconds",
    help: "Time of one group commit of state.",
    buckets: COMMIT_BUCKETS,
  });
  const operations = metrics.histogram({
    name: "state_operation_seconds",
    help: "Time of operations that agents send in their sessions, by call and outcome.",
    labels: ["call", "code"],
    buckets: COMMIT_BUCKETS,
  });
  return {
    stateCommitted(callCount, writeCount, durationMs) {
      calls.inc(callCount);
      writes.inc(writeCount);
      latency.observe(durationMs / 1_000);
    },
    stateCommitFailed(error) {
      failures.inc({ step: "commit" });
      logger.warn({ err: error }, "writes of state could not be committed; their callers know");
    },
    stateOperated: (call, code, durationMs) =>
      operations.observe({ call, code }, durationMs / 1_000),
    stateChangesSent: (count) => sent.inc(count),
    stateResynced: (reason) => resyncs.inc({ reason }),
    stateSwept: (kind, count) => swept.inc({ kind }, count),
    statePollFailed(error) {
      failures.inc({ step: "poll" });
      logger.warn({ err: error }, "changes of other replicas could not be read; it is repeated");
    },
    stateSweepFailed(error) {
      failures.inc({ step: "sweep" });
      logger.warn({ err: error }, "keys whose time is over could not be ended; it is repeated");
    },
  };
}
