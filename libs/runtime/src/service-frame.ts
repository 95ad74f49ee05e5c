import { createLogger, systemClock } from "@nexus/shared";
import { Frame } from "./frame.ts";
import { assertTransportSafe } from "./frame-config.ts";
import type { ServiceFrame, ServiceFrameOptions } from "./frame-contract.ts";
import { openFrameTls } from "./tls/frame-tls.ts";

/** Creates the frame every startServer begins with. The operators' port listens from here on, so that probes see
 * a live service that is not ready while it migrates or waits.
 *
 * Shutdown order: readiness off, calls drained for shutdownGraceMs, loops, clients, stores, operators' port.
 *
 * @example
 * const frame = await createServiceFrame({ service: "registry", config, overrides });
 * const pool = createPool({ ... });
 * frame.defer("postgres", () => pool.close());
 * frame.check("postgres", () => pool.query("SELECT 1"));
 * await frame.untilUp("postgres", () => migrate(pool, { ... }));
 * frame.server.add(RegistryService, createHandlers({ ... }));
 * return frame.start();
 */
export async function createServiceFrame(options: ServiceFrameOptions): Promise<ServiceFrame> {
  const config = options.config.current;
  assertTransportSafe(options.service, config);
  const clock = options.overrides?.clock ?? systemClock;
  const tls = openFrameTls({ service: options.service, config, nowMs: () => clock.nowMs() });
  const logger =
    options.overrides?.logger ?? createLogger({ service: options.service, level: config.logLevel });
  const frame = new Frame(options, logger, tls);
  await frame.openOps();
  return frame;
}
