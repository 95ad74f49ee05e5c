import { NexusError } from "@nexus/shared";

/** The caller's scopes do not reach the path. Says nothing about whether something is there. */
export function secretForbidden(scope: string): NexusError {
  return new NexusError({
    kind: "forbidden",
    reason: "SECRET_FORBIDDEN",
    message: `This needs the scope ${scope} as well.`,
    details: { metadata: { scope } },
  });
}

/** The namespace has no secret at that path. */
export function secretNotFound(): NexusError {
  return new NexusError({
    kind: "not_found",
    reason: "SECRET_NOT_FOUND",
    message: "The namespace has no secret at that path.",
  });
}

/** The version never was, or is no longer kept. */
export function secretVersionNotFound(): NexusError {
  return new NexusError({
    kind: "not_found",
    reason: "SECRET_VERSION_NOT_FOUND",
    message: "The secret has no such version, or keeps it no longer.",
  });
}

/** The version was deleted. */
export function secretDeleted(version: number): NexusError {
  return new NexusError({
    kind: "precondition",
    reason: "SECRET_DELETED",
    message: `Version ${version} is deleted; undelete it, or read another one.`,
    details: { metadata: { version: String(version) } },
  });
}

/** The time of the version is over. */
export function secretExpired(version: number): NexusError {
  return new NexusError({
    kind: "precondition",
    reason: "SECRET_EXPIRED",
    message: `Version ${version} has expired.`,
    details: { metadata: { version: String(version) } },
  });
}

/** The value is gone. */
export function secretDestroyed(version: number): NexusError {
  return new NexusError({
    kind: "precondition",
    reason: "SECRET_DESTROYED",
    message: `Version ${version} is destroyed; nothing brings it back.`,
    details: { metadata: { version: String(version) } },
  });
}

/** Another put was first. */
export function secretVersionMismatch(latestVersion: number): NexusError {
  return new NexusError({
    kind: "conflict",
    reason: "SECRET_VERSION_MISMATCH",
    message: `The newest version is ${latestVersion}, not the expected one.`,
    details: { metadata: { latest_version: String(latestVersion) } },
  });
}

/** The secret takes no put that does not say what it expects. */
export function secretCasRequired(): NexusError {
  return new NexusError({
    kind: "precondition",
    reason: "SECRET_CAS_REQUIRED",
    message: "The secret is written with an expected version only.",
  });
}

/** The namespace holds as many secrets as it may. */
export function secretLimit(): NexusError {
  return new NexusError({
    kind: "exhausted",
    reason: "SECRET_LIMIT",
    message: "The namespace holds as many secrets as it may.",
  });
}

/** The lease is over, or somebody else's. */
export function secretLeaseNotFound(): NexusError {
  return new NexusError({
    kind: "not_found",
    reason: "SECRET_LEASE_NOT_FOUND",
    message: "You hold no such lease, or it is over: stop using the value, and lease it anew.",
  });
}

/** The secret is leased as often as it may be. */
export function secretLeaseLimit(): NexusError {
  return new NexusError({
    kind: "exhausted",
    reason: "SECRET_LEASE_LIMIT",
    message: "There are as many leases on the secret as there may be.",
  });
}

/** The task that the caller reads for is not its own, or not any more. */
export function leaseLost(cause: string): NexusError {
  return new NexusError({
    kind: "conflict",
    reason: "LEASE_LOST",
    message: "You do not hold the task in whose name you read: stop it.",
    details: { metadata: { cause } },
  });
}

/** Nobody can say whether the caller holds the task. */
export function leaseUnverified(cause: unknown): NexusError {
  return new NexusError({
    kind: "unavailable",
    reason: "LEASE_UNVERIFIED",
    message: "The orchestrator cannot be asked whether you hold the task; try again.",
    cause,
  });
}

/** Agents read the secret for tasks only. */
export function secretTaskRequired(): NexusError {
  return new NexusError({
    kind: "forbidden",
    reason: "SECRET_TASK_REQUIRED",
    message: "An agent reads this secret only in the name of a task that it holds.",
  });
}
