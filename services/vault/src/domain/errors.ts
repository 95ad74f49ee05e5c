import { NexusError } from "@nexus/shared";

/** The one answer to every failed proof of identity. It does not say whether the name, the secret or the account was
 * at fault: that would tell a guesser which names exist. */
export function credentialsInvalid(): NexusError {
  return new NexusError({
    kind: "unauthenticated",
    reason: "CREDENTIALS_INVALID",
    message: "The name or the credential is wrong.",
  });
}

/** More password checks wait than may wait. */
export function loginBusy(retryAfterMs: number): NexusError {
  return new NexusError({
    kind: "exhausted",
    reason: "LOGIN_BUSY",
    message: "Too many password checks are waiting.",
    details: { retryAfterMs },
  });
}

/** The configured pepper is more than one version ahead of those that were in use. */
export function pepperVersionSkipped(version: number): NexusError {
  return new NexusError({
    kind: "precondition",
    reason: "PEPPER_VERSION_SKIPPED",
    message: `The pepper of passwords cannot be version ${version}: version ${version - 1} was never in use. Raise it by one at a time.`,
  });
}

/** A refresh token came a second time; its family is revoked now. */
export function refreshReused(): NexusError {
  return new NexusError({
    kind: "unauthenticated",
    reason: "REFRESH_REUSED",
    message: "The refresh token was used before, so its whole family is revoked; sign in again.",
  });
}

/** The namespace has no such principal. */
export function principalNotFound(): NexusError {
  return new NexusError({
    kind: "not_found",
    reason: "PRINCIPAL_NOT_FOUND",
    message: "No principal of this namespace has that id.",
  });
}

/** The id is taken. */
export function principalExists(): NexusError {
  return new NexusError({
    kind: "exists",
    reason: "PRINCIPAL_EXISTS",
    message: "A principal of this namespace has that id already.",
  });
}

/** A principal wants to do to itself what could lock the last administrator out, or make a stolen token more. */
export function principalIsCaller(): NexusError {
  return new NexusError({
    kind: "precondition",
    reason: "PRINCIPAL_IS_CALLER",
    message: "Nobody can do this to itself; ask another administrator.",
  });
}

/** Users have passwords, and the deployment owns the secrets of services. */
export function principalNotAgent(): NexusError {
  return new NexusError({
    kind: "precondition",
    reason: "PRINCIPAL_NOT_AGENT",
    message: "Only an agent has a client secret that can be rotated here.",
  });
}

/** Agents and services have client secrets. */
export function principalNotUser(): NexusError {
  return new NexusError({
    kind: "precondition",
    reason: "PRINCIPAL_NOT_USER",
    message: "Only a user has a password.",
  });
}

/** The proof that comes with a new password. Not unauthenticated: the caller's token is good. */
export function passwordWrong(): NexusError {
  return new NexusError({
    kind: "forbidden",
    reason: "PASSWORD_WRONG",
    message: "The old password is wrong.",
  });
}

/** The caller tries to hand out more than it holds. */
export function scopeEscalation(scope: string): NexusError {
  return new NexusError({
    kind: "forbidden",
    reason: "SCOPE_ESCALATION",
    message: `The scope ${scope} is beyond what your own token holds.`,
    details: { metadata: { scope } },
  });
}

/** The namespace has no such role. */
export function roleNotFound(name: string): NexusError {
  return new NexusError({
    kind: "not_found",
    reason: "ROLE_NOT_FOUND",
    message: `The namespace has no role ${name}.`,
  });
}

/** Somebody has the role, or a policy is for it. */
export function roleInUse(): NexusError {
  return new NexusError({
    kind: "precondition",
    reason: "ROLE_IN_USE",
    message: "A principal has this role or a policy is for it; take it from them first.",
  });
}

/** The namespace has no such policy. */
export function policyNotFound(name: string): NexusError {
  return new NexusError({
    kind: "not_found",
    reason: "POLICY_NOT_FOUND",
    message: `The namespace has no policy ${name}.`,
  });
}

/** The namespace is full of them. */
export function tooManyRules(what: string, max: number): NexusError {
  return new NexusError({
    kind: "exhausted",
    reason: "ACCESS_LIMIT",
    message: `A namespace has at most ${max} ${what}.`,
  });
}

/** A token has to fit into a header. */
export function accessTooLarge(principalId: string, max: number): NexusError {
  return new NexusError({
    kind: "precondition",
    reason: "ACCESS_TOO_LARGE",
    message: `The token of ${principalId} would carry more than ${max} scopes, granted and denied.`,
  });
}

/** A policy denies it, or nothing allows it for this resource. */
export function accessDenied(action: string): NexusError {
  return new NexusError({
    kind: "forbidden",
    reason: "ACCESS_DENIED",
    message: `You may not do ${action} to this resource.`,
    details: { metadata: { required_scope: action } },
  });
}

/** The caller may not act there. */
export function namespaceForbidden(): NexusError {
  return new NexusError({
    kind: "forbidden",
    reason: "NAMESPACE_FORBIDDEN",
    message: "You may not act in that namespace.",
  });
}

/** The call tells of all namespaces. */
export function serviceOnly(): NexusError {
  return new NexusError({
    kind: "forbidden",
    reason: "SERVICE_ONLY",
    message: "Only a service principal may do this.",
  });
}

/** A retry of a call whose first answer held a secret. */
export function secretAlreadyReturned(): NexusError {
  return new NexusError({
    kind: "exists",
    reason: "SECRET_ALREADY_RETURNED",
    message: "The first call with this request id returned the secret; rotate it to get another.",
  });
}

/** The request id was used with another body. */
export function requestIdReused(): NexusError {
  return new NexusError({
    kind: "conflict",
    reason: "REQUEST_ID_REUSED",
    message: "The request id was used before with another method or body.",
  });
}

/** The next key has not been in every verifier's key set for long enough. */
export function keyTooYoung(retryAfterMs: number): NexusError {
  return new NexusError({
    kind: "precondition",
    reason: "KEY_TOO_YOUNG",
    message: "The next signing key was published too recently to sign.",
    details: { retryAfterMs },
  });
}

/** The next authority was made and does not sign yet. */
export function caRotationPending(retryAfterMs: number): NexusError {
  return new NexusError({
    kind: "precondition",
    reason: "CA_ROTATION_PENDING",
    message: "The next authority was made and waits until every service trusts it.",
    details: { retryAfterMs },
  });
}

/** A request names somebody else. */
export function certificateNameForbidden(name: string): NexusError {
  return new NexusError({
    kind: "forbidden",
    reason: "CERTIFICATE_NAME_FORBIDDEN",
    message: "The request asks for a name that is not the caller's.",
    details: { metadata: { name } },
  });
}

/** A sealed key does not open. */
export function sealedKeyUnreadable(cause?: unknown): NexusError {
  return new NexusError({
    kind: "data_loss",
    reason: "SEALED_KEY_UNREADABLE",
    message:
      "A stored key does not open: the root key is another one (or, for keys of earlier versions, NEXUS_VAULT_KEY_ENCRYPTION_KEY is), or the row was changed.",
    cause,
  });
}

/** There is no root key in memory. */
export function vaultSealed(): NexusError {
  return new NexusError({
    kind: "precondition",
    reason: "VAULT_SEALED",
    message: "Vault is sealed: it has no root key, so it opens no other key.",
  });
}

/** The key that was brought does not open what is stored. */
export function rootKeyWrong(): NexusError {
  return new NexusError({
    kind: "forbidden",
    reason: "ROOT_KEY_WRONG",
    message: "This root key does not open the stored keys.",
  });
}

/** The KMS does not answer. */
export function rootKeyUnreachable(cause: unknown): NexusError {
  return new NexusError({
    kind: "unavailable",
    reason: "ROOT_KEY_UNREACHABLE",
    message: "The key management system that holds the root key does not answer.",
    cause,
  });
}

/** A key file that cannot be trusted, or read. */
export function rootKeyFileUnsafe(path: string, problem: string, cause?: unknown): NexusError {
  return new NexusError({
    kind: "precondition",
    reason: "ROOT_KEY_UNSAFE",
    message: `The key file ${path} ${problem}.`,
    cause,
  });
}

/** No root key is configured. */
export function rootKeyMissing(): NexusError {
  return new NexusError({
    kind: "precondition",
    reason: "ROOT_KEY_MISSING",
    message: "No root key is configured; bring one with Unseal.",
  });
}

/** Nothing is stored that could prove a root key. */
export function vaultNotInitialised(): NexusError {
  return new NexusError({
    kind: "precondition",
    reason: "VAULT_NOT_INITIALISED",
    message: "Nothing is stored yet: the first root key comes from the configuration.",
  });
}

/** What concerns all tenants is done in the namespace that administers them. */
export function namespaceOfAll(): NexusError {
  return new NexusError({
    kind: "forbidden",
    reason: "NAMESPACE_FORBIDDEN",
    message: "This concerns all namespaces; only the namespace default may do it.",
  });
}

/** A stream does not begin or go on as it should. */
export function frameInvalid(message: string): NexusError {
  return new NexusError({ kind: "invalid", reason: "FRAME_INVALID", message });
}

/** The body of a stream is too large. */
export function bodyTooLarge(maxBytes: number): NexusError {
  return new NexusError({
    kind: "invalid",
    reason: "BODY_TOO_LARGE",
    message: `The body has more than ${maxBytes} bytes.`,
    details: { metadata: { max_bytes: String(maxBytes) } },
  });
}

/** A field breaks a rule that the contract's patterns cannot express. */
export function invalidField(field: string, description: string): NexusError {
  return new NexusError({
    kind: "invalid",
    reason: "REQUEST_INVALID",
    message: `${field} ${description}.`,
    details: { fieldViolations: [{ field, description }] },
  });
}
