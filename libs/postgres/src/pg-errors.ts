/** The one place where Postgres errors become NexusErrors. No message written here holds SQL text or row values. */
import { type ErrorKind, NexusError } from "@nexus/shared";
import {
  constraintOf,
  distrustOf,
  isRetryableConnectionError,
  sqlStateOf,
} from "./connection-errors.ts";

/** What a violated constraint means to the caller. */
export interface ConstraintMeaning {
  readonly kind: ErrorKind;
  readonly reason: string;
  readonly message: string;
}

/** Constraint name -> what its violation means. Constraints are named in migrations for this purpose. */
export type ConstraintMeanings = Readonly<Record<string, ConstraintMeaning>>;

const STATE_MEANINGS: Readonly<Record<string, ConstraintMeaning>> = {
  "23505": { kind: "exists", reason: "ALREADY_EXISTS", message: "it exists already" },
  "23503": {
    kind: "precondition",
    reason: "REFERENCE_MISSING",
    message: "something it refers to does not exist or is still in use",
  },
  "40001": {
    kind: "conflict",
    reason: "SERIALIZATION_FAILURE",
    message: "a concurrent change won; read again and retry",
  },
  "40P01": {
    kind: "conflict",
    reason: "SERIALIZATION_FAILURE",
    message: "a concurrent change won; read again and retry",
  },
  "55P03": {
    kind: "conflict",
    reason: "LOCK_NOT_AVAILABLE",
    message: "a concurrent change holds the lock; retry",
  },
  "57014": {
    kind: "deadline",
    reason: "DATABASE_TIMEOUT",
    message: "the database statement ran out of time",
  },
  "25P03": {
    kind: "deadline",
    reason: "DATABASE_TIMEOUT",
    message: "the transaction stood idle for too long",
  },
  "22021": {
    kind: "invalid",
    reason: "TEXT_NOT_STORABLE",
    message: "text holds a character that cannot be stored",
  },
  "22P05": {
    kind: "invalid",
    reason: "TEXT_NOT_STORABLE",
    message: "text holds a character that cannot be stored",
  },
};

/** A Postgres error reduced to what may be logged: the server's detail and context lines, which quote row values, are left out. */
export class PostgresError extends Error {
  override readonly name = "PostgresError";
  readonly code: string;
  readonly constraint: string | undefined;
  readonly table: string | undefined;
  /** ERROR, FATAL or PANIC, in the server's language. */
  readonly severity: string | undefined;

  constructor(source: Record<string, unknown>, code: string) {
    super(optionalString(source["message"]) ?? "unknown Postgres error");
    this.code = code;
    this.constraint = optionalString(source["constraint"]);
    this.table = optionalString(source["table"]);
    this.severity = optionalString(source["severity"]);
    if (typeof source["stack"] === "string") this.stack = source["stack"];
  }
}

/** Translates any error of the driver or the server into a NexusError.
 *
 * An error that is a NexusError already stays as it is, unless `constraints` names the constraint that its cause violated.
 * Errors: exists (23505), precondition (23503), conflict (40001, 40P01, 55P03), deadline (57014, 25P03), invalid (22021),
 * unavailable/DATABASE_UNAVAILABLE (connection lost, server away, 53xxx), unavailable/DATABASE_UNTRUSTED (no TLS, or a certificate that
 * does not verify), internal/DATABASE_ERROR for every other SQLSTATE. */
export function mapPgError(error: unknown, constraints?: ConstraintMeanings): NexusError {
  const constraint = constraintOf(error);
  const named = constraint === undefined ? undefined : constraints?.[constraint];
  if (error instanceof NexusError && named === undefined) return error;
  const cause = reduceCause(error);
  if (named !== undefined) return new NexusError({ ...named, cause });
  const state = sqlStateOf(error);
  if (isRetryableConnectionError(error) || state?.startsWith("53") === true) {
    return new NexusError({
      kind: "unavailable",
      reason: "DATABASE_UNAVAILABLE",
      message: "the database is not reachable at the moment",
      cause,
    });
  }
  const distrust = distrustOf(error);
  if (distrust !== undefined) {
    return new NexusError({
      kind: "unavailable",
      reason: "DATABASE_UNTRUSTED",
      message: `the database does not prove that it is the right one (${distrust})`,
      cause,
    });
  }
  if (state === undefined) return NexusError.from(error);
  const meaning = STATE_MEANINGS[state];
  if (meaning !== undefined) return new NexusError({ ...meaning, cause });
  return new NexusError({
    kind: "internal",
    reason: "DATABASE_ERROR",
    message: `the database refused a statement (SQLSTATE ${state})`,
    cause,
  });
}

function reduceCause(error: unknown): unknown {
  if (error instanceof NexusError) return error.cause;
  const state = sqlStateOf(error);
  if (state === undefined || error instanceof PostgresError) return error;
  return new PostgresError(error as Record<string, unknown>, state);
}

function optionalString(value: unknown): string | undefined {
  return typeof value === "string" ? value : undefined;
}
