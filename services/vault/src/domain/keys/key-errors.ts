import { NexusError } from "@nexus/shared";

/** The namespace has no such key. */
export function keyNotFound(): NexusError {
  return new NexusError({
    kind: "not_found",
    reason: "KEY_NOT_FOUND",
    message: "No key of this namespace has that name.",
  });
}

/** The name is taken, or was a short time ago. */
export function keyExists(): NexusError {
  return new NexusError({
    kind: "exists",
    reason: "KEY_EXISTS",
    message: "A key of this namespace has that name, or had it within the last 30 days.",
  });
}

/** The namespace holds as many keys as it may. */
export function keyLimit(): NexusError {
  return new NexusError({
    kind: "exhausted",
    reason: "KEY_LIMIT",
    message: "The namespace holds as many keys as it may.",
  });
}

/** The key has as many versions as it may. */
export function keyVersionLimit(): NexusError {
  return new NexusError({
    kind: "exhausted",
    reason: "KEY_VERSION_LIMIT",
    message: "The key has as many versions as it may.",
  });
}

/** The key is switched off. */
export function keyDisabled(): NexusError {
  return new NexusError({
    kind: "precondition",
    reason: "KEY_DISABLED",
    message: "The key is disabled.",
  });
}

/** The key's material is gone. */
export function keyDestroyed(): NexusError {
  return new NexusError({
    kind: "precondition",
    reason: "KEY_DESTROYED",
    message: "The key is destroyed; nothing brings it back.",
  });
}

/** The key makes nothing new any more. */
export function keyExpired(): NexusError {
  return new NexusError({
    kind: "precondition",
    reason: "KEY_EXPIRED",
    message: "The key has expired: it decrypts and verifies, and does nothing else.",
  });
}

/** The key never had that version. */
export function keyVersionNotFound(): NexusError {
  return new NexusError({
    kind: "not_found",
    reason: "KEY_VERSION_NOT_FOUND",
    message: "The key has no such version.",
  });
}

/** One more use could repeat an IV. */
export function keyExhausted(): NexusError {
  return new NexusError({
    kind: "exhausted",
    reason: "KEY_EXHAUSTED",
    message:
      "The version of the key has been used as often as is safe; the next one is being made.",
  });
}

/** The key is protected from destruction. */
export function keyDeletionForbidden(): NexusError {
  return new NexusError({
    kind: "precondition",
    reason: "KEY_DELETION_FORBIDDEN",
    message: "The key may not be destroyed; allow it first.",
  });
}

/** Somebody else changed the key at the same moment. */
export function keyChanged(): NexusError {
  return new NexusError({
    kind: "conflict",
    reason: "KEY_CHANGED",
    message: "The key changed at the same moment; try again.",
  });
}

/** The one answer to everything that does not open: which check failed would help an attacker only. */
export function decryptionFailed(): NexusError {
  return new NexusError({
    kind: "invalid",
    reason: "DECRYPTION_FAILED",
    message: "The ciphertext does not open with this key and context.",
  });
}

/** The key is for something else. */
export function keyTypeWrong(type: string): NexusError {
  return new NexusError({
    kind: "precondition",
    reason: "KEY_TYPE_WRONG",
    message: `A key of the type ${type} does not do this.`,
    details: { metadata: { key_type: type } },
  });
}

/** The ciphertext is older than the key allows. */
export function keyVersionTooOld(minDecryptionVersion: number): NexusError {
  return new NexusError({
    kind: "precondition",
    reason: "KEY_VERSION_TOO_OLD",
    message: "The version is below the key's minimum decryption version.",
    details: { metadata: { min_decryption_version: String(minDecryptionVersion) } },
  });
}

/** Ciphertexts of a version that is to be refused are still being decrypted. */
export function keyVersionInUse(version: number): NexusError {
  return new NexusError({
    kind: "precondition",
    reason: "KEY_VERSION_IN_USE",
    message: `Version ${version} was used to decrypt lately; rewrap what is under it, or force it.`,
    details: { metadata: { version: String(version) } },
  });
}
