/** Problems that a person at a terminal has to solve: each message names the thing and the way out. */
import { NexusError } from "@nexus/shared";

/** Stable reasons of this package. */
export type DevkitReason =
  | "POSTGRES_BINARIES_MISSING"
  | "POSTGRES_START_FAILED"
  | "DATA_DIR_IN_USE"
  | "DATA_DIR_UNSAFE"
  | "NATS_MISSING"
  | "NATS_START_FAILED"
  | "PORT_IN_USE"
  | "REDIS_MISSING"
  | "REDIS_START_FAILED"
  | "STACK_START_FAILED";

/** Makes a precondition error with one of this package's reasons. */
export function devkitError(reason: DevkitReason, message: string, cause?: unknown): NexusError {
  return new NexusError({
    kind: "precondition",
    reason,
    message,
    ...(cause === undefined ? {} : { cause }),
  });
}
