import { ERROR_KINDS, type ErrorKind } from "./error-kinds.ts";
import { ERROR_REASONS } from "./error-reasons.ts";

/** The names of the gRPC codes by number, as grpcurl and other clients print them. */
const GRPC_CODE_NAMES: Readonly<Record<ErrorKind, string>> = {
  invalid: "INVALID_ARGUMENT",
  unauthenticated: "UNAUTHENTICATED",
  forbidden: "PERMISSION_DENIED",
  not_found: "NOT_FOUND",
  exists: "ALREADY_EXISTS",
  precondition: "FAILED_PRECONDITION",
  conflict: "ABORTED",
  out_of_range: "OUT_OF_RANGE",
  exhausted: "RESOURCE_EXHAUSTED",
  unavailable: "UNAVAILABLE",
  deadline: "DEADLINE_EXCEEDED",
  cancelled: "CANCELLED",
  unimplemented: "UNIMPLEMENTED",
  data_loss: "DATA_LOSS",
  internal: "INTERNAL",
};

function row(cells: readonly string[]): string {
  return `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`;
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  return [row(head), row(head.map(() => "---")), ...rows.map(row)].join("\n");
}

/** Renders docs/errors.md from ERROR_KINDS and ERROR_REASONS; a test keeps the file equal to this text.
 *
 * Shape: Markdown, reasons sorted by name so that two branches adding one each rarely clash. */
export function renderErrorDocs(): string {
  const kinds = Object.entries(ERROR_KINDS).map(([kind, info]) => [
    `\`${kind}\``,
    `${GRPC_CODE_NAMES[kind as ErrorKind]} (${info.grpcCode})`,
    String(info.httpStatus),
    info.advice,
  ]);
  const reasons = Object.entries(ERROR_REASONS)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, info]) => [`\`${name}\``, `\`${info.kind}\``, info.meaning]);
  return [
    "# Errors",
    "Generated from `libs/shared/src/error-kinds.ts` and `libs/shared/src/error-reasons.ts`; do not edit by hand.",
    "Every failed call carries a gRPC status and, in `grpc-status-details-bin`, a `google.rpc.ErrorInfo` whose `reason` is one\nof the stable names below and whose `domain` is `nexus.<service>`. Broken request fields come as `google.rpc.BadRequest`,\na delay before the next try as `google.rpc.RetryInfo`. Messages are for people and may change; kinds and reasons may not.",
    "## Kinds",
    table(["kind", "gRPC status", "HTTP", "what the caller should do"], kinds),
    "## Reasons",
    table(["reason", "kind", "meaning"], reasons),
    "",
  ]
    .join("\n\n")
    .trimEnd()
    .concat("\n");
}
