import { NexusError } from "@nexus/shared";
import { SLOW_CALL_MS } from "../limits.ts";
import type { PlannedCall, PlannedLayer } from "../server/interceptor.ts";

/** Kinds that are nobody's mistake: logged at debug like successes. */
const QUIET_KINDS = new Set(["cancelled", "not_found", "exists"]);

/** Writes one line per call: debug when it went well, info when it failed or was slow. Never payloads, never tokens.
 *
 * A stream is not slow for being long, and has not failed when its connection had its age. */
export const logCalls: PlannedLayer = async (call, next) => {
  const startedAt = performance.now();
  try {
    await next();
    writeLine(call, performance.now() - startedAt, undefined);
  } catch (error) {
    writeLine(call, performance.now() - startedAt, NexusError.from(error));
    throw error;
  }
};

function writeLine({ state, plan }: PlannedCall, elapsedMs: number, error: NexusError | undefined) {
  const isStream = plan.requestStream || plan.responseStream;
  const isSlow = !isStream && elapsedMs >= SLOW_CALL_MS;
  const isPlanned = isStream && NexusError.isPlannedEnd(error);
  const isFailed = error !== undefined && !QUIET_KINDS.has(error.kind) && !isPlanned;
  const level = isSlow || isFailed ? "info" : "debug";
  if (!state.isLogging(level)) return;
  state.logger[level](
    {
      duration_ms: Math.round(elapsedMs * 10) / 10,
      code: error === undefined ? "ok" : error.kind,
      ...(error === undefined ? {} : { reason: error.reason }),
      peer: state.peer,
    },
    "call served",
  );
}
