import type { ErrorKind, ErrorReasonName, NexusError } from "@nexus/shared";

/** What the process ends with, by what happened. Scripts may rely on them. */
export const EXIT = {
  ok: 0,
  unexpected: 1,
  usage: 2,
  notFound: 3,
  denied: 4,
  unavailable: 5,
  conflict: 6,
  /** The answer is no: a job or task that did not succeed and was watched, a message that was not delivered, a signature that is not the key's, a token that is not good, what a principal may not do, a vault that is sealed, an audit log that was changed. */
  awaitedFailed: 7,
  interrupted: 130,
  /** Nobody reads what it writes any more; the code of a program that SIGPIPE ends. */
  unread: 141,
} as const;

const BY_KIND: Readonly<Record<ErrorKind, number>> = {
  invalid: EXIT.usage,
  out_of_range: EXIT.usage,
  unauthenticated: EXIT.denied,
  forbidden: EXIT.denied,
  not_found: EXIT.notFound,
  exists: EXIT.conflict,
  precondition: EXIT.conflict,
  conflict: EXIT.conflict,
  exhausted: EXIT.unavailable,
  unavailable: EXIT.unavailable,
  deadline: EXIT.unavailable,
  cancelled: EXIT.interrupted,
  unimplemented: EXIT.unexpected,
  data_loss: EXIT.unexpected,
  internal: EXIT.unexpected,
};

/** Full, and not for a moment only: what is there has to go first, or the quota to grow. */
const QUOTAS: ReadonlySet<ErrorReasonName> = new Set([
  "ACCESS_LIMIT",
  "AGENT_LIMIT",
  "KEY_LIMIT",
  "KEY_VERSION_LIMIT",
  "PAYLOAD_QUOTA",
  "SECRET_LIMIT",
  "STATE_BYTES_QUOTA",
  "STATE_KEYS_QUOTA",
  "STATE_NAMESPACE_QUOTA",
  "STATE_SIBLING_LIMIT",
]);

/** However often it is tried. */
const TOO_LARGE: ReadonlySet<ErrorReasonName> = new Set([
  "MESSAGE_TOO_LARGE",
  "STATE_CALL_TOO_LARGE",
  "STATE_VALUE_TOO_LARGE",
]);

/** The exit code for an error: that of its kind, but a limit that no waiting helps against is not "too busy". */
export function exitCodeOf({ kind, reason }: Pick<NexusError, "kind" | "reason">): number {
  const known = reason as ErrorReasonName;
  if (QUOTAS.has(known)) return EXIT.conflict;
  if (TOO_LARGE.has(known)) return EXIT.usage;
  return BY_KIND[kind];
}
