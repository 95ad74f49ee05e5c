/** Builds a mesh-router from its configuration. Reads top to bottom in the order of dependence; `server/` has the parts. */

import { hostname } from "node:os";
import { fileURLToPath } from "node:url";
import type { ConfigManager } from "@nexus/core";
import { createServiceFrame, type RunningService, type ServerOverrides } from "@nexus/runtime";
import type { Clock } from "@nexus/shared";
import type { MeshRouterConfig } from "./config.ts";
import { CONNECTION_SILENT_MAX_MS } from "./domain/limits.ts";
import { openBus } from "./server/bus.ts";
import { addSessionLoops } from "./server/loops.ts";
import { addMailLoops } from "./server/mail-loops.ts";
import { createMesh } from "./server/mesh.ts";
import type { Parts } from "./server/parts.ts";
import { addReplicas } from "./server/replicas.ts";
import { addServices } from "./server/services.ts";
import { addState } from "./server/state.ts";
import { openStores } from "./server/stores.ts";

const MIGRATIONS = fileURLToPath(new URL("../migrations/", import.meta.url));

/** Milliseconds since the epoch that never step back: timeouts must not depend on someone setting the clock. */
const monotonicClock: Clock = { nowMs: () => performance.timeOrigin + performance.now() };

/** Starts a mesh-router; it serves when this resolves.
 *
 * Errors: ConfigError for a taken port; whatever the migrations throw. */
export async function startServer(
  config: ConfigManager<MeshRouterConfig>,
  overrides: ServerOverrides = {},
): Promise<RunningService> {
  const frame = await createServiceFrame({
    service: "mesh-router",
    config,
    overrides,
    silentMaxMs: CONNECTION_SILENT_MAX_MS,
  });
  try {
    const clock = overrides.clock ?? monotonicClock;
    const { current } = config;
    const routerId = current.routerId ?? `${hostname()}-${current.grpcPort}`;
    const parts: Parts = { frame, config: current, clock, routerId };
    const stores = await openStores(parts, MIGRATIONS);
    const bus = openBus(parts);
    const mesh = createMesh({ ...parts, stores, bus });
    await frame.untilUp("subscriptions", () => mesh.subscriptions.refreshAll());
    const state = addState({ ...parts, pool: stores.pool, mesh });
    addServices({ ...parts, mesh, pool: stores.pool, state });
    addReplicas({ ...parts, mesh });
    addSessionLoops({ ...parts, mesh, store: stores.sessions });
    await addMailLoops({ ...parts, mesh, stores });
    mesh.lifecycle.adopt(
      await frame.untilUp("sessions", () => stores.sessions.loadSurvivors(current.lostAfterMs)),
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
