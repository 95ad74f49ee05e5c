import type { ErrorKind } from "@nexus/shared";

/** What the process ends with, by what happened. Scripts may rely on them. */
export const EXIT = {
  ok: 0,
  unexpected: 1,
  usage: 2,
  notFound: 3,
  denied: 4,
  unavailable: 5,
  conflict: 6,
  /** The answer is no: a job that failed under --wait, a signature that is not the key's, a vault that is sealed, an audit log that was changed. */
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

/** The exit code for an error of this kind. */
export function exitCodeOf(kind: ErrorKind): number {
  return BY_KIND[kind];
}
