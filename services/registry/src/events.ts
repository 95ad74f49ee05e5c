/** What the registry tells operators: one function an event, its metric and its log line together. */
import type { Logger } from "@nexus/shared";
import type { Metrics } from "@nexus/telemetry";
import type { RegistryEvents } from "./domain/ports.ts";

/** Creates the events. Agent ids go to the log only: a label must come from a small closed set. */
export function createEvents(metrics: Metrics, logger: Logger): RegistryEvents {
  const registrations = metrics.counter({
    name: "registrations_total",
    help: "Registrations and updates of agents by what they did.",
    labels: ["outcome"] as const,
  });
  const removals = metrics.counter({
    name: "removals_total",
    help: "Removed agents by cause.",
    labels: ["cause"] as const,
  });
  const presences = metrics.counter({
    name: "presence_reports_total",
    help: "Presence reports by what became of them.",
    labels: ["outcome"] as const,
  });
  const lost = metrics.counter({
    name: "agents_lost_total",
    help: "Agents whose presence was not renewed in time.",
  });
  const outcomes = metrics.counter({
    name: "outcomes_total",
    help: "Reported outcomes: counted, or left out as repeated or of an agent that is gone.",
    labels: ["outcome"] as const,
  });
  const watchers = metrics.counter({
    name: "watchers_too_slow_total",
    help: "Watches that ended because too many changes waited for them.",
  });
  return {
    agentRegistered: (key, outcome) => {
      registrations.inc({ outcome });
      if (outcome !== "repeated") logger.info({ ...key, outcome }, "agent registered");
    },
    agentRemoved: (key, cause) => {
      removals.inc({ cause });
      logger.info({ ...key, cause }, "agent removed");
    },
    presenceReported: ({ unknown, stale, changed }, reports) => {
      presences.inc({ outcome: "unknown" }, unknown);
      presences.inc({ outcome: "stale" }, stale);
      presences.inc({ outcome: "changed" }, changed);
      presences.inc({ outcome: "renewed" }, Math.max(0, reports - unknown - stale - changed));
    },
    agentLost: (key) => {
      lost.inc();
      logger.warn({ ...key }, "agent lost");
    },
    outcomesCounted: (counted, leftOut) => {
      outcomes.inc({ outcome: "counted" }, counted);
      outcomes.inc({ outcome: "left_out" }, leftOut);
    },
    indexLoaded: (agents, cause) => {
      logger.info({ agents, cause }, "index built");
    },
    watcherTooSlow: () => {
      watchers.inc();
      logger.warn("watcher too slow");
    },
  };
}
