import type { MessageInitShape } from "@bufbuild/protobuf";
import { durationFromMs, durationMs, type Timestamp, timestampMs } from "@bufbuild/protobuf/wkt";
import {
  type CreateKeyRequest,
  type KeySchema,
  KeyState,
  KeyType,
  type KeyVersionSchema,
  KeyVersionState,
  SealReason,
  type UpdateKeyRequest,
} from "@nexus/proto/vault";
import { invalidField } from "../domain/errors.ts";
import type {
  KeyState as DomainKeyState,
  KeyType as DomainKeyType,
  KeyPatch,
  KeySpec,
  KeyVersion,
  NamedKey,
} from "../domain/keys/named-key.ts";
import type { SealReason as DomainReason } from "../domain/secure-vault.ts";
import { toTimestamp } from "./convert.ts";

const SEAL_REASONS: Readonly<Record<DomainReason, SealReason>> = {
  no_root_key: SealReason.NO_ROOT_KEY,
  by_operator: SealReason.BY_OPERATOR,
  root_key_unreachable: SealReason.ROOT_KEY_UNREACHABLE,
  root_key_wrong: SealReason.ROOT_KEY_WRONG,
};

const KEY_TYPES: Readonly<Record<DomainKeyType, KeyType>> = {
  envelope: KeyType.ENVELOPE,
  "plain-gcm": KeyType.PLAIN_GCM,
  ed25519: KeyType.ED25519,
  "hmac-sha256": KeyType.HMAC_SHA256,
};

const FROM_KEY_TYPES: Readonly<Record<KeyType, DomainKeyType>> = {
  [KeyType.UNSPECIFIED]: "envelope",
  [KeyType.ENVELOPE]: "envelope",
  [KeyType.PLAIN_GCM]: "plain-gcm",
  [KeyType.ED25519]: "ed25519",
  [KeyType.HMAC_SHA256]: "hmac-sha256",
};

const KEY_STATES: Readonly<Record<DomainKeyState, KeyState>> = {
  active: KeyState.ACTIVE,
  disabled: KeyState.DISABLED,
  destroyed: KeyState.DESTROYED,
};

/** 0001-01-01T00:00:00Z and 9999-12-31T23:59:59Z: where google.protobuf.Timestamp begins and ends. */
const TIMESTAMP_SECONDS_MIN = -62_135_596_800n;
const TIMESTAMP_SECONDS_MAX = 253_402_300_799n;

/** Why vault is sealed, to the wire; UNSPECIFIED when it is open. */
export function toSealReason(reason: DomainReason | undefined): SealReason {
  return reason === undefined ? SealReason.UNSPECIFIED : SEAL_REASONS[reason];
}

/** A key to the wire. */
export function toKey(key: NamedKey): MessageInitShape<typeof KeySchema> {
  const { rotationPeriodMs, expiresAtMs } = key;
  return {
    name: key.name,
    keyId: key.keyId,
    type: KEY_TYPES[key.type],
    state: KEY_STATES[key.state],
    latestVersion: key.latestVersion,
    minDecryptionVersion: key.minDecryptionVersion,
    maxUses: BigInt(key.maxUses),
    deletionAllowed: key.deletionAllowed,
    createTime: toTimestamp(key.createdAtMs),
    rotateTime: toTimestamp(key.rotatedAtMs),
    ...(rotationPeriodMs === 0 ? {} : { rotationPeriod: durationFromMs(rotationPeriodMs) }),
    ...(expiresAtMs === undefined ? {} : { expireTime: toTimestamp(expiresAtMs) }),
  };
}

/** A version of a key to the wire. */
export function toKeyVersion(
  key: NamedKey,
  version: KeyVersion,
): MessageInitShape<typeof KeyVersionSchema> {
  const { lastDecryptAtMs, publicKey } = version;
  return {
    version: version.version,
    state: versionState(key, version),
    createTime: toTimestamp(version.createdAtMs),
    usesReserved: BigInt(version.usesReserved),
    ...(publicKey === undefined ? {} : { publicKey }),
    ...(lastDecryptAtMs === undefined ? {} : { lastDecryptTime: toTimestamp(lastDecryptAtMs) }),
  };
}

function versionState(key: NamedKey, { version, wrapped }: KeyVersion): KeyVersionState {
  if (wrapped === undefined) return KeyVersionState.DESTROYED;
  if (version < key.minDecryptionVersion) return KeyVersionState.ARCHIVED;
  return version === key.latestVersion ? KeyVersionState.ACTIVE : KeyVersionState.DECRYPT_ONLY;
}

/** The key that a request describes. */
export function fromKeySpec(request: CreateKeyRequest): KeySpec {
  const { name, type, rotationPeriod, maxUses, expireTime, deletionAllowed } = request;
  return {
    name,
    type: FROM_KEY_TYPES[type],
    rotationPeriodMs: rotationPeriod === undefined ? 0 : durationMs(rotationPeriod),
    maxUses: Number(maxUses),
    expiresAtMs: expireTime === undefined ? undefined : fromExpireTime(expireTime),
    deletionAllowed,
  };
}

/** What a request changes. */
export function fromKeyPatch(request: UpdateKeyRequest): KeyPatch {
  const { minDecryptionVersion, rotationPeriod, maxUses, deletionAllowed } = request;
  return {
    ...(minDecryptionVersion === undefined ? {} : { minDecryptionVersion }),
    ...(rotationPeriod === undefined ? {} : { rotationPeriodMs: durationMs(rotationPeriod) }),
    ...(maxUses === undefined ? {} : { maxUses: Number(maxUses) }),
    ...(deletionAllowed === undefined ? {} : { deletionAllowed }),
    ...expiryPatch(request),
  };
}

function expiryPatch({ expireTime, clearExpireTime }: UpdateKeyRequest): KeyPatch {
  if (expireTime !== undefined) return { expiresAtMs: fromExpireTime(expireTime) };
  return clearExpireTime ? { expiresAtMs: null } : {};
}

/** The contract's rules do not look into a Timestamp. */
function fromExpireTime(time: Timestamp): number {
  const { seconds, nanos } = time;
  const inRange = seconds >= TIMESTAMP_SECONDS_MIN && seconds <= TIMESTAMP_SECONDS_MAX;
  if (!inRange || nanos < 0 || nanos >= 1e9) {
    throw invalidField("expire_time", "must be in the years 1 to 9999");
  }
  return timestampMs(time);
}
