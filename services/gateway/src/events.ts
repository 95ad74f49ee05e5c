/** What happened at the edge, as metrics. Labels are closed sets; the log has a line per failed call already. */
import { type ErrorKind, type Logger, NexusError } from "@nexus/shared";
import type { Metrics } from "@nexus/telemetry";
import type { CodeClass, ObjectiveName, Objectives } from "./domain/objectives.ts";
import type { Upstream } from "./domain/routes.ts";

/** Whom a limit was counted against. */
export type Limited = "principal" | "address";

/** Every event of the gateway. */
export interface GatewayEvents {
  /** A unary call that was passed on ended, whatever port it came to. No error: it went well. */
  callEnded(upstream: Upstream, error: unknown, tookMs: number): void;
  /** A stream that was passed on ended; `isAnswered` says whether anything came. */
  streamEnded(upstream: Upstream, error: unknown, isAnswered: boolean): void;
  streamOpened(upstream: Upstream): void;
  streamClosed(upstream: Upstream): void;
  /** A call was refused for its caller's rate. */
  rateLimited(by: Limited): void;
  /** The keys that verify tokens could not be fetched for somebody who asked. */
  keysUnavailable(error: unknown): void;
  /** Refusals were not entered into the audit log, as vault has been away for too long. */
  refusalsNotEntered(count: number): void;
}

const CLASSES: Readonly<Record<ErrorKind, CodeClass>> = {
  invalid: "caller",
  unauthenticated: "caller",
  forbidden: "caller",
  not_found: "caller",
  exists: "caller",
  precondition: "caller",
  conflict: "caller",
  out_of_range: "caller",
  exhausted: "caller",
  unimplemented: "caller",
  unavailable: "server",
  deadline: "server",
  data_loss: "server",
  internal: "server",
  cancelled: "cancelled",
};

/** Limits of a service as a whole, not of its caller: whoever meets them did nothing wrong. */
const OVERLOADS: ReadonlySet<string> = new Set([
  "QUEUE_FULL",
  "LOGIN_BUSY",
  "ALERT_WATCHES_FULL",
  "PAYLOAD_STREAMS_BUSY",
  "SESSION_LIMIT",
  "DISPATCH_LIMIT",
  "EXHAUSTED",
]);

/** Sorts an end of a call by whose doing it was. A stream that was served and ended because it was time went well: whoever follows it calls
 * again. */
export function codeClassOf(error: unknown, isServedStream = false): CodeClass {
  if (error === undefined) return "ok";
  if (isServedStream && NexusError.isPlannedEnd(error)) return "ok";
  const { kind, reason } = NexusError.from(error);
  return kind === "exhausted" && OVERLOADS.has(reason) ? "server" : CLASSES[kind];
}

/** Whether the time that the caller gave was over. */
function isDeadline(error: unknown): boolean {
  return NexusError.is(error, "deadline", "DEADLINE_EXCEEDED");
}

/** A call that an agent answers takes as long as the agent does. */
const ANSWERED_BY_AGENTS: Upstream = "mesh-router";

/** What events are told to. */
export interface GatewayEventsParts {
  readonly metrics: Metrics;
  readonly logger: Logger;
  readonly objectives: Objectives;
}

/** Creates the events of one gateway. */
export function createGatewayEvents(parts: GatewayEventsParts): GatewayEvents {
  const { metrics, logger, objectives } = parts;
  exportObjectives(metrics, objectives);
  const calls = metrics.counter({
    name: "relayed_calls_total",
    help: "Calls passed on, by owner and by how they ended: ok, caller, server, cancelled.",
    labels: ["upstream", "code_class"],
  });
  const streams = metrics.gauge({
    name: "open_streams",
    help: "Streams being passed on now, by owner.",
    labels: ["upstream"],
  });
  const limited = metrics.counter({
    name: "rate_limited_total",
    help: "Calls refused for their caller's rate, by what was counted.",
    labels: ["by"],
  });
  const notEntered = metrics.counter({
    name: "refusals_not_entered_total",
    help: "Refusals that are not in the audit log: too many waited for vault, and the oldest gave way.",
  });
  return {
    callEnded: (upstream, error, tookMs) => {
      const end = codeClassOf(error);
      calls.inc({ upstream, code_class: end });
      if (isDeadline(error) && objectives.isEarly(tookMs)) return;
      objectives.callEnded(end, upstream === ANSWERED_BY_AGENTS ? undefined : tookMs);
    },
    streamEnded(upstream, error, isAnswered) {
      const end = codeClassOf(error, isAnswered);
      calls.inc({ upstream, code_class: end });
      objectives.callEnded(end);
    },
    streamOpened: (upstream) => streams.inc({ upstream }),
    streamClosed: (upstream) => streams.dec({ upstream }),
    rateLimited: (by) => limited.inc({ by }),
    keysUnavailable: (error) => logger.warn({ err: error }, "the keys could not be fetched"),
    refusalsNotEntered(count) {
      notEntered.inc(count);
      logger.error({ count }, "refusals were not entered into the audit log");
    },
  };
}

/** Gauges that are worked out when they are read. */
function exportObjectives(metrics: Metrics, objectives: Objectives): void {
  const of = (name: ObjectiveName) => objectives.report().find((report) => report.name === name);
  for (const name of ["availability", "latency"] as const) {
    metrics.gauge({
      name: `${name}_budget_remaining_ratio`,
      help: `Share of the day's error budget of ${name} that is left; negative: overspent.`,
      read: () => of(name)?.budgetRemaining ?? 1,
    });
    metrics.gauge({
      name: `${name}_burn_rate_1h_ratio`,
      help: `How fast the error budget of ${name} was spent in the last hour; 1 spends it in a day.`,
      read: () => of(name)?.burnRateHour ?? 0,
    });
    metrics.gauge({
      name: `${name}_burn_rate_5m_ratio`,
      help: `The same of the last five minutes.`,
      read: () => of(name)?.burnRateMinutes ?? 0,
    });
  }
}
