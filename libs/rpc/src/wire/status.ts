/** Error <-> gRPC status, both ways, and nothing else: what crosses the wire is decided here. */
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { anyIs, anyPack, anyUnpack } from "@bufbuild/protobuf/wkt";
import { status as GrpcCode, Metadata } from "@grpc/grpc-js";
import {
  BadRequestSchema,
  ErrorInfoSchema,
  RetryInfoSchema,
  type Status,
  StatusSchema,
} from "@nexus/proto/google-rpc";
import { ERROR_KINDS, type ErrorDetails, kindOfGrpcCode, NexusError } from "@nexus/shared";
import { MAX_ERROR_DETAILS_BYTES, MAX_ERROR_TEXT_BYTES } from "../limits.ts";
import { readBareStatus } from "./bare-status.ts";

/** Header of google.rpc.Status in every failed call's trailers. */
export const STATUS_DETAILS_HEADER = "grpc-status-details-bin";

/** Prefix of ErrorInfo.domain; the rest is the service's name. */
export const ERROR_DOMAIN_PREFIX = "nexus.";

/** A gRPC status as the transport takes and gives it. */
export interface WireStatus {
  readonly code: GrpcCode;
  readonly details: string;
  readonly metadata: Metadata;
}

/** The status a restored error came from: an error that is only passed on leaves with the bytes it came with. */
const origins = new WeakMap<NexusError, WireStatus>();

/** Field violations and metadata get half of the room each. */
const HALF_BUDGET_BYTES = MAX_ERROR_DETAILS_BYTES / 2;

/** Tags and lengths around a key and its value, rounded up. */
const PAIR_OVERHEAD_BYTES = 12;

const UNPAIRED_SURROGATE = /\p{Surrogate}/gu;

/** Narrows a number to a status code; one that gRPC does not define becomes UNKNOWN. */
function toGrpcCode(code: number): GrpcCode {
  const name = GrpcCode[code] as keyof typeof GrpcCode | undefined;
  return name === undefined ? GrpcCode.UNKNOWN : GrpcCode[name];
}

/** Makes a text safe for the status header: the transport throws on half a surrogate pair, and percent-encodes what
 * is not ASCII, so the length is measured there. */
function safeText(text: string): string {
  let safe = text.slice(0, MAX_ERROR_TEXT_BYTES).replace(UNPAIRED_SURROGATE, "\uFFFD");
  for (let size = encodeURI(safe).length; size > MAX_ERROR_TEXT_BYTES; ) {
    const length = Math.floor((safe.length * MAX_ERROR_TEXT_BYTES) / size) - 1;
    safe = safe.slice(0, length).replace(UNPAIRED_SURROGATE, "");
    size = encodeURI(safe).length;
  }
  return safe;
}

/** Takes pairs while they fit in the budget, so that no client has to refuse the trailers. */
function withinBudget(
  pairs: Iterable<readonly [string, string]>,
  budgetBytes: number,
): [string, string][] {
  let left = budgetBytes;
  const kept: [string, string][] = [];
  for (const [key, value] of pairs) {
    left -= Buffer.byteLength(key) + Buffer.byteLength(value) + PAIR_OVERHEAD_BYTES;
    if (left < 0) break;
    kept.push([safeText(key), safeText(value)]);
  }
  return kept;
}

/** Writes an error as the status that the client gets.
 *
 * `cause` and stack stay behind. An error restored from an upstream service keeps that service's details, byte
 * for byte, its domain included. */
export function toWireStatus(error: NexusError, service: string): WireStatus {
  const origin = origins.get(error);
  if (origin !== undefined) return origin;
  const code = ERROR_KINDS[error.kind].grpcCode;
  const metadata = new Metadata();
  metadata.set(STATUS_DETAILS_HEADER, encodeStatus(error, service));
  return { code: toGrpcCode(code), details: safeText(error.message), metadata };
}

/** Writes an error as the bytes that a call's trailers hold, for an answer inside of a stream. */
export function encodeStatus(error: NexusError, service: string): Buffer {
  const status = create(StatusSchema, {
    code: ERROR_KINDS[error.kind].grpcCode,
    message: safeText(error.message),
    details: packDetails(error, service),
  });
  return Buffer.from(toBinary(StatusSchema, status));
}

/** Restores the error of an answer inside of a stream; damaged bytes are internal/PROTOCOL_ERROR. */
export function decodeStatus(bytes: Uint8Array): NexusError {
  try {
    const status = fromBinary(StatusSchema, bytes);
    const kind = kindOfGrpcCode(status.code);
    const rich = readDetails(status);
    if (rich === undefined) return new NexusError(readBareStatus(kind, status.message));
    return new NexusError({ kind, ...rich, message: status.message });
  } catch (cause) {
    const message = "The server's error cannot be read.";
    return new NexusError({ kind: "internal", reason: "PROTOCOL_ERROR", message, cause });
  }
}

function packDetails(error: NexusError, service: string) {
  const { fieldViolations, retryAfterMs, metadata } = error.details;
  const info = create(ErrorInfoSchema, {
    reason: error.reason,
    domain: ERROR_DOMAIN_PREFIX + service,
    metadata: Object.fromEntries(withinBudget(Object.entries(metadata ?? {}), HALF_BUDGET_BYTES)),
  });
  const packed = [anyPack(ErrorInfoSchema, info)];
  if (fieldViolations !== undefined && fieldViolations.length > 0) {
    const pairs = fieldViolations.map((v) => [v.field, v.description] as const);
    const bad = create(BadRequestSchema, {
      fieldViolations: withinBudget(pairs, HALF_BUDGET_BYTES).map(([field, description]) => ({
        field,
        description,
      })),
    });
    packed.push(anyPack(BadRequestSchema, bad));
  }
  if (retryAfterMs !== undefined) {
    const seconds = Math.floor(retryAfterMs / 1_000);
    const nanos = Math.round((retryAfterMs - seconds * 1_000) * 1_000_000);
    const retry = create(RetryInfoSchema, { retryDelay: { seconds: BigInt(seconds), nanos } });
    packed.push(anyPack(RetryInfoSchema, retry));
  }
  return packed;
}

/** Says whether a server said this error, with our details; else it comes from this process or from the transport,
 * e.g. because no server answered. */
export function isSentByServer(error: NexusError): boolean {
  return origins.has(error);
}

/** Restores the error of a failed call; kind and reason are those the first service gave it. */
export function fromWireStatus(status: {
  readonly code: number;
  readonly details: string;
  readonly metadata: Metadata | undefined;
}): NexusError {
  const kind = kindOfGrpcCode(status.code);
  const bytes = status.metadata?.get(STATUS_DETAILS_HEADER)[0];
  const rich = Buffer.isBuffer(bytes) ? tryParseStatus(bytes) : undefined;
  if (!Buffer.isBuffer(bytes) || rich === undefined) {
    return new NexusError({
      ...readBareStatus(kind, status.details),
      cause: new Error(status.details),
    });
  }
  const { reason, details } = rich;
  const error = new NexusError({ kind, reason, message: status.details, details });
  const metadata = new Metadata();
  metadata.set(STATUS_DETAILS_HEADER, bytes);
  origins.set(error, {
    code: toGrpcCode(status.code),
    details: safeText(status.details),
    metadata,
  });
  return error;
}

/** Returns what a details header says, or undefined when it is damaged: then the code alone has to do. */
function tryParseStatus(bytes: Buffer): { reason: string; details: ErrorDetails } | undefined {
  let status: Status;
  try {
    status = fromBinary(StatusSchema, bytes);
    return readDetails(status);
  } catch {
    // A peer that is not ours may send anything here; the status code still tells the kind.
    return undefined;
  }
}

function readDetails(status: Status): { reason: string; details: ErrorDetails } | undefined {
  let reason: string | undefined;
  let details: ErrorDetails = {};
  for (const any of status.details) {
    if (anyIs(any, ErrorInfoSchema)) {
      const info = anyUnpack(any, ErrorInfoSchema);
      reason = info?.reason;
      if (info !== undefined && Object.keys(info.metadata).length > 0) {
        details = { ...details, metadata: info.metadata };
      }
    } else if (anyIs(any, BadRequestSchema)) {
      const bad = anyUnpack(any, BadRequestSchema)?.fieldViolations ?? [];
      const fieldViolations = bad.map(({ field, description }) => ({ field, description }));
      details = { ...details, fieldViolations };
    } else if (anyIs(any, RetryInfoSchema)) {
      const delay = anyUnpack(any, RetryInfoSchema)?.retryDelay;
      if (delay !== undefined) {
        details = { ...details, retryAfterMs: Number(delay.seconds) * 1_000 + delay.nanos / 1e6 };
      }
    }
  }
  return reason === undefined || reason === "" ? undefined : { reason, details };
}
