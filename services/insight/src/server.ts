/** Puts insight together. Reads top to bottom in the order of dependency; the frame closes in reverse. */
import { fileURLToPath } from "node:url";
import type { ConfigManager } from "@nexus/core";
import { createPool, decodePageToken, encodePageToken, migrate, type Pool } from "@nexus/postgres";
import { AnalyticsService, MetricsService, WitnessService } from "@nexus/proto/insight";
import {
  createServiceFrame,
  type RunningService,
  type ServerOverrides,
  type ServiceFrame,
  usePool,
} from "@nexus/runtime";
import type { InsightConfig } from "./config.ts";
import { createMetricsCollector } from "./domain/metrics-collector.ts";
import { createPerformanceAnalytics } from "./domain/performance-analytics.ts";
import { createEvents } from "./events.ts";
import { createHandlers } from "./handlers/index.ts";
import { keepPartitions } from "./loops/retention-loops.ts";
import { rollUpSamples } from "./loops/rollup-loop.ts";
import { createWitness } from "./server/witness.ts";
import { createPackStore } from "./store/pack-store.ts";
import { createPerformanceStore } from "./store/performance-store.ts";
import { createRollupStore } from "./store/rollup-store.ts";

const SCHEMA = "insight";
const MIGRATIONS = fileURLToPath(new URL("../migrations/", import.meta.url));

/** Starts insight: migrates, then serves. Resolves when calls are taken. */
export async function startServer(
  config: ConfigManager<InsightConfig>,
  overrides?: ServerOverrides,
): Promise<RunningService> {
  const frame = await createServiceFrame({ service: "insight", config, overrides });
  try {
    const pool = openPool(frame, config.current);
    await frame.untilUp("postgres", () => migrate(pool, { schema: SCHEMA, directory: MIGRATIONS }));
    const events = createEvents(frame.metrics, frame.logger);
    const packs = createPackStore(pool);
    const rollups = createRollupStore(pool);
    const partitions = [
      () => packs.keepPartitions(config.current.sampleRetentionMs),
      () => rollups.keepPartitions(config.current.rollupRetentionMs),
    ];
    for (const keep of partitions) await frame.untilUp("postgres", keep);
    const collector = createMetricsCollector({ packs, events });
    frame.loop(keepPartitions(partitions));
    frame.loop(rollUpSamples(rollups, events, config.current.rollupIntervalMs));
    const analytics = createPerformanceAnalytics(createPerformanceStore(pool));
    const pageTokens = { encode: encodePageToken, decode: decodePageToken };
    const witness = await createWitness(frame, config.current, { pool, events });
    const handlers = createHandlers({
      collector,
      analytics,
      clock: frame.clock,
      pageTokens,
      ...witness,
    });
    frame.server.add(MetricsService, handlers.metrics);
    frame.server.add(AnalyticsService, handlers.analytics);
    frame.server.add(WitnessService, handlers.witness);
    return await frame.start();
  } catch (error) {
    await frame[Symbol.asyncDispose]();
    throw error;
  }
}

function openPool(frame: ServiceFrame, config: InsightConfig): Pool {
  const pool = createPool({
    url: config.databaseUrl,
    max: config.databasePoolMax,
    applicationName: "nexus-insight",
    schema: SCHEMA,
    statementTimeoutMs: config.statementTimeoutMs,
    logger: frame.logger,
  });
  usePool(frame, pool);
  return pool;
}
