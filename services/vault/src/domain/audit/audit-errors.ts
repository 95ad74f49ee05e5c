import { NexusError } from "@nexus/shared";

/** No checkpoint was signed yet. */
export function auditEmpty(): NexusError {
  return new NexusError({
    kind: "precondition",
    reason: "AUDIT_EMPTY",
    message: "The audit log has no checkpoint yet; it gets one within a second of its first entry.",
  });
}

/** A leaf or a size that the log does not have. */
export function auditRangeInvalid(size: number): NexusError {
  return new NexusError({
    kind: "invalid",
    reason: "AUDIT_RANGE_INVALID",
    message: `The newest checkpoint covers ${size} leaves.`,
  });
}

/** An entry that a service may not make. */
export function auditEntryInvalid(why: string): NexusError {
  return new NexusError({
    kind: "invalid",
    reason: "AUDIT_ENTRY_INVALID",
    message: `An entry of the call is not accepted: ${why}.`,
  });
}

/** What is stored is not what was signed: the log does not go on from it. */
export function auditLogTampered(what: string): NexusError {
  return new NexusError({
    kind: "data_loss",
    reason: "AUDIT_LOG_TAMPERED",
    message: `The stored audit log is not the one that was signed: ${what}.`,
  });
}

/** Says whether an error is that one. */
export function isTampered(error: unknown): boolean {
  return NexusError.is(error, "data_loss", "AUDIT_LOG_TAMPERED");
}
