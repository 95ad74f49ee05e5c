/** The closed list of what can go wrong, seen from the caller: each kind says what the caller should do next.
 * A new kind is a change of the public contract and needs an ADR; a new *reason* is one line in error-reasons.ts. */
export type ErrorKind =
  | "invalid"
  | "unauthenticated"
  | "forbidden"
  | "not_found"
  | "exists"
  | "precondition"
  | "conflict"
  | "out_of_range"
  | "exhausted"
  | "unavailable"
  | "deadline"
  | "cancelled"
  | "unimplemented"
  | "data_loss"
  | "internal";

/** What one kind becomes on the wire, and what a caller should do about it. */
export interface ErrorKindInfo {
  /** The gRPC status code number (google.rpc.Code). */
  readonly grpcCode: number;
  /** The HTTP status at the gateway; numbers follow google/rpc/code.proto. */
  readonly httpStatus: number;
  /** One imperative sentence for the caller. */
  readonly advice: string;
}

/** Maps every kind to its wire codes. Exhaustive by type, so a kind without a mapping does not compile:
 * an unmapped error can never silently become UNKNOWN. */
export const ERROR_KINDS: Readonly<Record<ErrorKind, ErrorKindInfo>> = {
  invalid: { grpcCode: 3, httpStatus: 400, advice: "Fix the request; it is wrong in any state." },
  unauthenticated: { grpcCode: 16, httpStatus: 401, advice: "Sign in and send a valid token." },
  forbidden: { grpcCode: 7, httpStatus: 403, advice: "Stop; you are known but not allowed." },
  not_found: { grpcCode: 5, httpStatus: 404, advice: "Stop; it is absent or hidden from you." },
  exists: { grpcCode: 6, httpStatus: 409, advice: "Read the one that exists." },
  precondition: { grpcCode: 9, httpStatus: 400, advice: "Repair the state first, then repeat." },
  conflict: { grpcCode: 10, httpStatus: 409, advice: "Read again and repeat the whole operation." },
  out_of_range: { grpcCode: 11, httpStatus: 400, advice: "Stop iterating; this is past the end." },
  exhausted: { grpcCode: 8, httpStatus: 429, advice: "Back off, and honour the retry delay." },
  unavailable: { grpcCode: 14, httpStatus: 503, advice: "Repeat this call with backoff." },
  deadline: { grpcCode: 4, httpStatus: 504, advice: "Repeat only if the call is idempotent." },
  cancelled: { grpcCode: 1, httpStatus: 499, advice: "Nothing; the caller left." },
  unimplemented: { grpcCode: 12, httpStatus: 501, advice: "Upgrade, or turn the feature on." },
  data_loss: { grpcCode: 15, httpStatus: 500, advice: "Call a person; stored data is damaged." },
  internal: { grpcCode: 13, httpStatus: 500, advice: "Report the error id to the operator." },
};

const KIND_BY_GRPC_CODE: ReadonlyMap<number, ErrorKind> = new Map(
  Object.entries(ERROR_KINDS).map(([kind, info]) => [info.grpcCode, kind as ErrorKind]),
);

/** Returns the kind of a gRPC status code; UNKNOWN (2) and numbers outside the table are `internal`. */
export function kindOfGrpcCode(grpcCode: number): ErrorKind {
  return KIND_BY_GRPC_CODE.get(grpcCode) ?? "internal";
}

/** Says whether a string is one of the kinds, e.g. when a kind is read back from a log or a row. */
export function isErrorKind(value: string): value is ErrorKind {
  return Object.hasOwn(ERROR_KINDS, value);
}
