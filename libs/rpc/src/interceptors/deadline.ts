import { NexusError } from "@nexus/shared";
import { DEADLINE_HEAD_START_MS } from "../limits.ts";
import type { PlannedLayer } from "../server/interceptor.ts";

/** Timers of Node cannot run longer; a deadline beyond it is no deadline for our purposes. */
const MAX_TIMER_MS = 2 ** 31 - 1;

/** Gives every unary call a deadline, aborts `ctx.signal` when it passes, and answers at once then, whether the
 * handler listens or not. Also the place where any other end from outside (client gone, token ended, server
 * draining) overtakes the handler: the layers outside of this one see the end when the client does. */
export function createEnforceDeadline(defaultDeadlineMs: number): PlannedLayer {
  return async ({ state, plan }, next) => {
    if (state.endError !== undefined) throw state.endError;
    const isStream = plan.requestStream || plan.responseStream;
    if (state.deadlineAtMs === undefined && !isStream) {
      state.deadlineAtMs = Date.now() + defaultDeadlineMs;
    }
    const timer = state.deadlineAtMs === undefined ? undefined : startTimer(state.deadlineAtMs);
    const overtaken = new Promise<never>((_, reject) => state.onEnd(reject));
    try {
      await Promise.race([next(), overtaken]);
    } finally {
      clearTimeout(timer);
    }

    function startTimer(deadlineAtMs: number): NodeJS.Timeout | undefined {
      const remainingMs = deadlineAtMs - Date.now();
      if (remainingMs > MAX_TIMER_MS) return undefined;
      const headStartMs = Math.min(DEADLINE_HEAD_START_MS, remainingMs / 10);
      return setTimeout(() => state.end(deadlineError()), remainingMs - headStartMs);
    }
  };
}

function deadlineError(): NexusError {
  return new NexusError({
    kind: "deadline",
    reason: "DEADLINE_EXCEEDED",
    message: "The deadline of the call passed before its answer was ready.",
  });
}
