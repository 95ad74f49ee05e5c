import { NexusError } from "@nexus/shared";
import type { Metrics } from "@nexus/telemetry";
import type { Interceptor } from "../server/interceptor.ts";

/** Measures calls: `nexus_<service>_rpc_duration_seconds{method,code}` and `nexus_<service>_rpc_in_flight`. `code` is
 * `ok` or the error's kind. A stream counts once, when it ends. */
export function createMeasureCalls(metrics: Metrics): Interceptor {
  const durations = metrics.histogram({
    name: "rpc_duration_seconds",
    help: "Time from the arrival of a call to its status, by method and outcome.",
    labels: ["method", "code"],
  });
  const inFlight = metrics.gauge({
    name: "rpc_in_flight",
    help: "Calls being served now, open streams included.",
  });
  return async ({ plan }, next) => {
    const startedAt = performance.now();
    const method = plan.path.slice(1);
    let code = "ok";
    inFlight.inc();
    try {
      await next();
    } catch (error) {
      code = NexusError.from(error).kind;
      throw error;
    } finally {
      inFlight.dec();
      durations.observe({ method, code }, (performance.now() - startedAt) / 1_000);
    }
  };
}
