import { NexusError } from "@nexus/shared";

/** No token came with the call. */
export function tokenMissingError(): NexusError {
  return new NexusError({
    kind: "unauthenticated",
    reason: "TOKEN_MISSING",
    message: "The call carries no access token.",
  });
}

/** The token is not one that this verifier can accept.
 *
 * The message says nothing about which check failed: that would help a forger only. The cause keeps it for the log. */
export function tokenInvalidError(cause?: unknown): NexusError {
  return new NexusError({
    kind: "unauthenticated",
    reason: "TOKEN_INVALID",
    message: "The access token is malformed, forged or meant for someone else.",
    cause,
  });
}

/** The token was good and has ended. */
export function tokenExpiredError(cause?: unknown): NexusError {
  return new NexusError({
    kind: "unauthenticated",
    reason: "TOKEN_EXPIRED",
    message: "The access token has ended; refresh it or sign in again.",
    cause,
  });
}

/** The token would still live, but it, its family or its principal was revoked. */
export function tokenRevokedError(): NexusError {
  return new NexusError({
    kind: "unauthenticated",
    reason: "TOKEN_REVOKED",
    message: "The access token was revoked; sign in again.",
  });
}

/** No key set was ever fetched, so nothing can be said about any token. */
export function identityUnavailableError(cause?: unknown): NexusError {
  return new NexusError({
    kind: "unavailable",
    reason: "IDENTITY_UNAVAILABLE",
    message: "The keys that verify access tokens could not be fetched yet.",
    details: { retryAfterMs: 1000 },
    cause,
  });
}
