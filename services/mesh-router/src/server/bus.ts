import { type Bus, type BusEvents, createMemoryBus, createRedisBus } from "@nexus/bus";
import type { Logger } from "@nexus/shared";
import type { Metrics } from "@nexus/telemetry";
import type { Parts } from "./parts.ts";

/** Seconds on a bus that is idle, busy, or behind. */
const LAG_BUCKETS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 30];

/** A few lost heartbeats must not make a replica lost. */
const HEARTBEATS_PER_LOST_AFTER = 5;

/** Opens what carries signals between the replicas. It need not be there for the service to start, or to be ready. */
export function openBus({ frame, config, routerId }: Omit<Parts, "clock">): Bus {
  const events = createBusEvents(frame.metrics, frame.logger);
  const bus =
    config.busDriver === "redis" && config.redisUrl !== undefined
      ? createRedisBus({
          replicaId: routerId,
          url: config.redisUrl,
          deployment: config.busDeployment,
          lostAfterMs: config.busLostAfterMs,
          heartbeatIntervalMs: config.busLostAfterMs / HEARTBEATS_PER_LOST_AFTER,
          events,
        })
      : createMemoryBus({ replicaId: routerId, events });
  frame.defer("bus", () => bus[Symbol.asyncDispose]());
  frame.metrics.gauge({
    name: "bus_connected",
    help: "1 while signals between replicas are carried.",
    read: () => (bus.isConnected ? 1 : 0),
  });
  frame.metrics.gauge({
    name: "bus_peers",
    help: "Other replicas that were heard of lately.",
    read: () => bus.peers.length,
  });
  return bus;
}

function createBusEvents(metrics: Metrics, logger: Logger): BusEvents {
  const counter = (name: string, help: string) => metrics.counter({ name: `bus_${name}`, help });
  const published = counter("published_total", "Signals that were taken in.");
  const refused = counter("refused_total", "Signals that were not taken in, or not carried.");
  const received = counter("received_total", "Signals of other replicas.");
  const reconnects = counter("reconnects_total", "Times that the bus came back.");
  const gaps = metrics.counter({
    name: "bus_gaps_total",
    help: "Times that signals may have been missed, by cause.",
    labels: ["cause"],
  });
  const lag = metrics.histogram({
    name: "bus_lag_seconds",
    help: "From one replica's clock to another's.",
    buckets: LAG_BUCKETS,
  });
  return {
    published: (signals) => published.inc(signals),
    refused: (signals) => refused.inc(signals),
    received: (signals) => received.inc(signals),
    gap: ({ cause }) => gaps.inc({ cause }),
    lag: (lagMs) => lag.observe(lagMs / 1_000),
    connected(again) {
      if (again) reconnects.inc();
      logger.info({ again }, "the bus between replicas carries signals");
    },
    disconnected: (error) =>
      logger.warn({ err: error }, "the bus between replicas is away; what it signals comes later"),
    subscriberFailed: (kind, error) =>
      logger.error({ err: error, kind }, "a signal could not be taken in"),
  };
}
