import type { ErrorKind } from "./error-kinds.ts";

/** One field of a request that broke a rule; becomes google.rpc.BadRequest on the wire. */
export interface FieldViolation {
  /** Path of the field as in the contract, e.g. `tasks[2].capability`. */
  readonly field: string;
  /** What is wrong and what would be right, for a person. */
  readonly description: string;
}

/** Machine-readable extras of an error. All of it reaches the caller, so nothing secret belongs here. */
export interface ErrorDetails {
  /** Broken rules of the request, all of them at once. */
  readonly fieldViolations?: readonly FieldViolation[];
  /** Milliseconds to wait before the next try; becomes google.rpc.RetryInfo. */
  readonly retryAfterMs?: number;
  /** Short key/value facts; becomes the metadata of google.rpc.ErrorInfo. */
  readonly metadata?: Readonly<Record<string, string>>;
}

/** What a NexusError is made from. */
export interface NexusErrorInit {
  readonly kind: ErrorKind;
  /** Stable UPPER_SNAKE name listed in ERROR_REASONS; callers may branch on it. */
  readonly reason: string;
  /** For people; may change at any time. */
  readonly message: string;
  readonly details?: ErrorDetails;
  /** The error underneath. Kept for logs, never sent to a caller. */
  readonly cause?: unknown;
}

/** The text of every error that is not a NexusError: what really happened goes to the log only. */
export const INTERNAL_ERROR_MESSAGE = "An internal error occurred.";

const PLANNED_ENDS: ReadonlySet<string> = new Set(["CONNECTION_AGED", "SERVER_DRAINING"]);

const LAST_OF_SEVERAL = /^.*Last error: (?:Error: )?/s;
const RESOLUTION_NOTE = /\.? Resolution note:.*$/s;

const NO_DETAILS: ErrorDetails = Object.freeze({});

/** The one error type of the project: `kind` says what the caller should do, `reason` says exactly why.
 *
 * It crosses processes: the outermost server interceptor writes it to the wire and the client
 * interceptor restores it, so kind and reason survive several hops. `cause` stays in its process.
 *
 * @example
 * throw new NexusError({ kind: "conflict", reason: "LEASE_LOST", message: "The lease has a newer holder." });
 */
export class NexusError extends Error {
  readonly kind: ErrorKind;
  readonly reason: string;
  readonly details: ErrorDetails;

  constructor(init: NexusErrorInit) {
    super(init.message, init.cause === undefined ? undefined : { cause: init.cause });
    this.name = "NexusError";
    this.kind = init.kind;
    this.reason = init.reason;
    this.details = init.details ?? NO_DETAILS;
  }

  /** Returns the error itself when it is a NexusError, else internal/INTERNAL with a fixed text.
   *
   * The text of a foreign error can hold SQL, paths or secrets, so it never becomes the message;
   * the original is kept as `cause` for the log. */
  static from(error: unknown): NexusError {
    if (error instanceof NexusError) return error;
    return new NexusError({
      kind: "internal",
      reason: "INTERNAL",
      message: INTERNAL_ERROR_MESSAGE,
      cause: error,
    });
  }

  /** What lies at the bottom of a thrown value, for people and logs; undefined when nothing lies below it.
   *
   * gRPC tells of a connection what it told before, three times over: of that only the last is kept.
   *
   * @example `connect ECONNREFUSED 127.0.0.1:7400` */
  static rootCause(error: unknown): string | undefined {
    let next = error instanceof Error ? error.cause : undefined;
    let last: Error | undefined;
    for (; next instanceof Error; next = next.cause) last = next;
    return last?.message.replace(LAST_OF_SEVERAL, "").replace(RESOLUTION_NOTE, "");
  }

  /** Says whether a stream ended because it was time: its connection has its age, or its server goes. Whoever follows it calls again, and
   * nothing is wrong. */
  static isPlannedEnd(error: unknown): boolean {
    return error instanceof NexusError && PLANNED_ENDS.has(error.reason);
  }

  /** How loud such an end is told: `warn` unless it was planned. */
  static levelOfEnd(error: unknown): "debug" | "warn" {
    return NexusError.isPlannedEnd(error) ? "debug" : "warn";
  }

  /** Says whether a thrown value is a NexusError of this kind and, when given, this reason. */
  static is(error: unknown, kind: ErrorKind, reason?: string): error is NexusError {
    return (
      error instanceof NexusError &&
      error.kind === kind &&
      (reason === undefined || error.reason === reason)
    );
  }
}
