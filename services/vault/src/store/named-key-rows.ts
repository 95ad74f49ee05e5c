import type { Namespace } from "@nexus/shared";
import type { KeyState, KeyType, KeyVersion, NamedKey } from "../domain/keys/named-key.ts";

/** Columns of a key, in the names of NamedKey. */
export const KEY_COLUMNS = `
  k.namespace, k.name, k.key_id AS "keyId", k.type, k.state, k.latest_version AS "latestVersion",
  k.min_decryption_version AS "minDecryptionVersion", k.rotation_period_ms AS "rotationPeriodMs",
  k.max_uses AS "maxUses", k.expires_at AS "expiresAt", k.deletion_allowed AS "deletionAllowed",
  k.created_at AS "createdAt", k.rotated_at AS "rotatedAt"`;

/** Columns of a version, in the names of KeyVersion. */
export const VERSION_COLUMNS = `
  v.key_id AS "keyId", v.version, v.namespace, v.box, v.tenant_key_version AS "tenantKeyVersion",
  v.public_key AS "publicKey", v.uses_reserved AS "usesReserved",
  v.last_decrypt_at AS "lastDecryptAt", v.created_at AS "createdAt"`;

/** A row of KEY_COLUMNS as the driver returns it. */
export interface KeyRow {
  readonly namespace: Namespace;
  readonly name: string;
  readonly keyId: string;
  readonly type: KeyType;
  readonly state: KeyState;
  readonly latestVersion: number;
  readonly minDecryptionVersion: number;
  readonly rotationPeriodMs: string;
  readonly maxUses: string;
  readonly expiresAt: Date | null;
  readonly deletionAllowed: boolean;
  readonly createdAt: Date;
  readonly rotatedAt: Date;
}

/** A row of VERSION_COLUMNS as the driver returns it. */
export interface VersionRow {
  readonly keyId: string;
  readonly version: number;
  readonly namespace: Namespace;
  readonly box: Buffer | null;
  readonly tenantKeyVersion: number | null;
  readonly publicKey: Buffer | null;
  readonly usesReserved: string;
  readonly lastDecryptAt: Date | null;
  readonly createdAt: Date;
}

/** Turns a row into the domain's type. */
export function toNamedKey(row: KeyRow): NamedKey {
  const { rotationPeriodMs, maxUses, expiresAt, createdAt, rotatedAt, ...key } = row;
  return {
    ...key,
    rotationPeriodMs: Number(rotationPeriodMs),
    maxUses: Number(maxUses),
    expiresAtMs: expiresAt?.getTime(),
    createdAtMs: createdAt.getTime(),
    rotatedAtMs: rotatedAt.getTime(),
  };
}

/** Turns a row into the domain's type. */
export function toKeyVersion(row: VersionRow): KeyVersion {
  const { keyId, version, namespace, box, tenantKeyVersion, publicKey } = row;
  return {
    keyId,
    version,
    namespace,
    wrapped: box === null || tenantKeyVersion === null ? undefined : { box, tenantKeyVersion },
    publicKey: publicKey ?? undefined,
    usesReserved: Number(row.usesReserved),
    lastDecryptAtMs: row.lastDecryptAt?.getTime(),
    createdAtMs: row.createdAt.getTime(),
  };
}
