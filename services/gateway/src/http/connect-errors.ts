import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@connectrpc/connect";
import { BadRequestSchema, ErrorInfoSchema, RetryInfoSchema } from "@nexus/proto/google-rpc";
import { type ErrorKind, NexusError } from "@nexus/shared";

const CODES: Readonly<Record<ErrorKind, Code>> = {
  invalid: Code.InvalidArgument,
  unauthenticated: Code.Unauthenticated,
  forbidden: Code.PermissionDenied,
  not_found: Code.NotFound,
  exists: Code.AlreadyExists,
  precondition: Code.FailedPrecondition,
  conflict: Code.Aborted,
  out_of_range: Code.OutOfRange,
  exhausted: Code.ResourceExhausted,
  unavailable: Code.Unavailable,
  deadline: Code.DeadlineExceeded,
  cancelled: Code.Canceled,
  unimplemented: Code.Unimplemented,
  data_loss: Code.DataLoss,
  internal: Code.Internal,
};

/** Turns any error into the one that Connect clients get: same code, reason and details as on the gRPC port. */
export function toConnectError(cause: unknown): ConnectError {
  if (cause instanceof ConnectError) return cause;
  const error = NexusError.from(cause);
  const { fieldViolations, retryAfterMs, metadata } = error.details;
  const info = { reason: error.reason, domain: "nexus.gateway", metadata: { ...metadata } };
  const details = [{ desc: ErrorInfoSchema, value: info }];
  const connectError = new ConnectError(error.message, CODES[error.kind], undefined, details);
  if (fieldViolations !== undefined) {
    const value = { fieldViolations: fieldViolations.map((one) => ({ ...one })) };
    connectError.details.push({ desc: BadRequestSchema, value });
  }
  if (retryAfterMs !== undefined) {
    const value = { retryDelay: durationFromMs(retryAfterMs) };
    connectError.details.push({ desc: RetryInfoSchema, value });
  }
  return connectError;
}
