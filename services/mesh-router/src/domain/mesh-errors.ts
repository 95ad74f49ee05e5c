/** The errors that end streams, with the reasons that the contract names. */
import { NexusError } from "@nexus/shared";

/** The stream broke the rules of frames. */
export function frameInvalid(message: string, cause?: unknown): NexusError {
  return new NexusError({ kind: "invalid", reason: "FRAME_INVALID", message, cause });
}

/** Hello names an agent that the token does not speak for. */
export function agentIdMismatch(): NexusError {
  return new NexusError({
    kind: "forbidden",
    reason: "AGENT_ID_MISMATCH",
    message: "The token must be an agent's, and its subject the agent id of the hello.",
  });
}

/** A newer stream of the same agent took over. */
export function sessionSuperseded(): NexusError {
  return new NexusError({
    kind: "conflict",
    reason: "SESSION_SUPERSEDED",
    message: "Another stream of this agent took the session over.",
  });
}

/** The agent does not read. */
export function sessionTooSlow(): NexusError {
  return new NexusError({
    kind: "exhausted",
    reason: "SESSION_TOO_SLOW",
    message: "The agent does not read what it granted credit for.",
  });
}

/** No frame came for too long. */
export function sessionLost(): NexusError {
  return new NexusError({
    kind: "deadline",
    reason: "SESSION_LOST",
    message: "No frame came from the agent for longer than lost_after.",
  });
}

/** The replica holds as many sessions as it may. */
export function sessionLimit(limit: number): NexusError {
  return new NexusError({
    kind: "exhausted",
    reason: "SESSION_LIMIT",
    message: `This replica holds its limit of ${limit} sessions; connect to another one.`,
  });
}

/** The renewed token is not the session's. */
export function reauthRefused(cause: unknown): NexusError {
  return new NexusError({
    kind: "unauthenticated",
    reason: "TOKEN_INVALID",
    message: "The new token is not a valid token of this agent.",
    cause,
  });
}

/** The router takes no new sessions because it is about to stop. */
export function routerDraining(): NexusError {
  return new NexusError({
    kind: "unavailable",
    reason: "SERVER_DRAINING",
    message: "The router is about to stop; connect to another one.",
  });
}

/** The orchestrator does not read. */
export function dispatchTooSlow(): NexusError {
  return new NexusError({
    kind: "exhausted",
    reason: "DISPATCH_TOO_SLOW",
    message: "The orchestrator does not read fast enough; connect again for a new snapshot.",
  });
}

/** As many orchestrators are connected as may be. */
export function dispatchLimit(limit: number): NexusError {
  return new NexusError({
    kind: "exhausted",
    reason: "DISPATCH_LIMIT",
    message: `This replica holds its limit of ${limit} dispatch streams.`,
  });
}
