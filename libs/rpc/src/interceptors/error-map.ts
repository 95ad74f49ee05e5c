import { randomUUID } from "node:crypto";
import { INTERNAL_ERROR_MESSAGE, type Logger, NexusError } from "@nexus/shared";
import type { Interceptor } from "../server/interceptor.ts";
import { toWireStatus } from "../wire/status.ts";

/** Ends every call, and is the only place that does: OK, or the status of whatever was thrown inside.
 *
 * An error that is not a NexusError becomes INTERNAL with a fixed text and an error id; its text, stack and cause
 * go to the log under the same id and nowhere else. */
export function createErrorMap(service: string, logger: Logger): Interceptor {
  return async ({ state, transport }, next) => {
    try {
      await next();
      transport.finish();
    } catch (error) {
      const { traceId, plan } = state;
      const shown = toPublicError(error, { logger, traceId, method: plan.path });
      transport.fail(toWireStatus(shown, service), error);
    }
  };
}

/** Where an error came up, for its line in the log. */
export interface FailedCall {
  readonly logger: Logger;
  readonly traceId: string | undefined;
  /** `/package.Service/Method` */
  readonly method: string;
}

/** Returns what a caller may see of an error: ours are logged whole, and leave only a fixed text and an error id. */
export function toPublicError(
  thrown: unknown,
  { logger, traceId, method }: FailedCall,
): NexusError {
  const error = NexusError.from(thrown);
  const isOurFault = error.kind === "internal" || error.kind === "data_loss";
  if (!isOurFault || error.details.metadata?.["error_id"] !== undefined) return error;
  const errorId = randomUUID();
  logger.error(
    { err: thrown, error_id: errorId, trace_id: traceId, method },
    "call failed unexpectedly",
  );
  return new NexusError({
    kind: error.kind,
    reason: error.reason,
    message: error.reason === "INTERNAL" ? INTERNAL_ERROR_MESSAGE : error.message,
    details: { ...error.details, metadata: { ...error.details.metadata, error_id: errorId } },
  });
}
