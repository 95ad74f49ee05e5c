import { type DescMessage, fromBinary, type JsonValue, toJson } from "@bufbuild/protobuf";
import { anyIs } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@connectrpc/connect";
import {
  BadRequestSchema,
  ErrorInfoSchema,
  RetryInfoSchema,
  StatusSchema,
} from "@nexus/proto/google-rpc";
import { toWireStatus } from "@nexus/rpc";
import type { ErrorKind, NexusError } from "@nexus/shared";

const SERVICE = "gateway";
const DETAILS_HEADER = "grpc-status-details-bin";
const KNOWN_DETAILS: readonly DescMessage[] = [ErrorInfoSchema, BadRequestSchema, RetryInfoSchema];

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

/** One detail of an error, as Connect carries it. */
interface Detail {
  readonly type: string;
  readonly value: Uint8Array;
  /** The same in words, for people who read JSON. */
  readonly debug?: JsonValue;
}

interface HttpError {
  readonly code: Code;
  readonly message: string;
  readonly details: readonly Detail[];
}

/** Turns an error into the one that HTTP callers get: code, text and details are those of the gRPC port, and the
 * details of an owner keep their bytes. */
export function toConnectError(error: NexusError): ConnectError {
  const { code, message, details } = toHttpError(error);
  const connectError = new ConnectError(message, code, headersOf(error));
  connectError.details.push(...details);
  return connectError;
}

/** Returns the headers that an error's answer has: when to come back, for clients that know HTTP and nothing else. */
export function headersOf({ details }: NexusError): Record<string, string> {
  if (details.retryAfterMs === undefined) return {};
  return { "retry-after": String(Math.ceil(details.retryAfterMs / 1_000)) };
}

/** Writes an error as Connect's JSON, for answers that no handler of a contract gives. */
export function toErrorJson(error: NexusError): string {
  const { code, message, details } = toHttpError(error);
  // InvalidArgument is invalid_argument on the wire.
  const name = Code[code].replaceAll(/(?!^)[A-Z]/g, (letter) => `_${letter}`).toLowerCase();
  const shown = details.map(({ value, ...rest }) => ({
    ...rest,
    value: Buffer.from(value).toString("base64").replace(/=+$/, ""),
  }));
  return JSON.stringify({ code: name, message, details: shown });
}

function toHttpError(error: NexusError): HttpError {
  const { details: message, metadata } = toWireStatus(error, SERVICE);
  const [bytes] = metadata.get(DETAILS_HEADER);
  const anys = Buffer.isBuffer(bytes) ? fromBinary(StatusSchema, bytes).details : [];
  const details = anys.map((any): Detail => {
    const type = any.typeUrl.slice(any.typeUrl.lastIndexOf("/") + 1);
    const desc = KNOWN_DETAILS.find((known) => anyIs(any, known));
    if (desc === undefined) return { type, value: any.value };
    return { type, value: any.value, debug: toJson(desc, fromBinary(desc, any.value)) };
  });
  return { code: CODES[error.kind], message, details };
}
