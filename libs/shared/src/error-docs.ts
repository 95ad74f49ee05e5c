import { ERROR_KINDS, type ErrorKind } from "./error-kinds.ts";
import { ERROR_REASONS } from "./error-reasons.ts";
import { TASK_FAILURE_REASONS, type TaskFailureReason } from "./task-failure-reasons.ts";

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

const RETRY_WORDS: Readonly<Record<TaskFailureReason["retry"], string>> = {
  costed: "while attempts are left",
  free: "yes; uses up no attempt",
  never: "never",
};

function row(cells: readonly string[]): string {
  return `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`;
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  return [row(head), row(head.map(() => "---")), ...rows.map(row)].join("\n");
}

function byName<T>(table: Readonly<Record<string, T>>): [string, T][] {
  return Object.entries(table).sort(([a], [b]) => (a < b ? -1 : 1));
}

/** Renders docs/errors.md from the three tables of kinds, reasons and task failures; a test keeps the file equal to this text.
 *
 * Shape: Markdown, reasons sorted by name so that two branches adding one each rarely clash. */
export function renderErrorDocs(): string {
  const kinds = Object.entries(ERROR_KINDS).map(([kind, info]) => [
    `\`${kind}\``,
    `${GRPC_CODE_NAMES[kind as ErrorKind]} (${info.grpcCode})`,
    String(info.httpStatus),
    info.advice,
  ]);
  const reasons = byName(ERROR_REASONS).map(([name, info]) => [
    `\`${name}\``,
    `\`${info.kind}\``,
    info.meaning,
  ]);
  const failures = byName<TaskFailureReason>(TASK_FAILURE_REASONS).map(([name, info]) => [
    `\`${name}\``,
    RETRY_WORDS[info.retry],
    info.meaning,
  ]);
  return [
    "# Errors",
    "Generated from `error-kinds.ts`, `error-reasons.ts` and `task-failure-reasons.ts` of `libs/shared/src`; do not edit by hand.",
    "Every failed call carries a gRPC status and, in `grpc-status-details-bin`, a `google.rpc.ErrorInfo` whose `reason` is one\nof the stable names below and whose `domain` is `nexus.<service>`. Broken request fields come as `google.rpc.BadRequest`,\na delay before the next try as `google.rpc.RetryInfo`. Messages are for people and may change; kinds and reasons may not.",
    "## Kinds",
    table(["kind", "gRPC status", "HTTP", "what the caller should do"], kinds),
    "## Reasons",
    table(["reason", "kind", "meaning"], reasons),
    "## Failures of tasks",
    "A failed attempt or task carries one of these in `Failure.reason`, or a word of the agent's own. No call fails with them.",
    table(["reason", "tried again", "meaning"], failures),
    "",
  ]
    .join("\n\n")
    .trimEnd()
    .concat("\n");
}
