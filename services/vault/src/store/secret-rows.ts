import type { Namespace } from "@nexus/shared";
import type { Secret, SecretVersion, StoredSecretVersion } from "../domain/secrets/secret.ts";

/** Columns of a secret, in the names of Secret. */
export const SECRET_COLUMNS = `
  s.namespace, s.path, s.secret_id AS "secretId", s.latest_version AS "latestVersion",
  s.max_versions AS "maxVersions", s.cas_required AS "casRequired",
  s.task_required AS "taskRequired",
  s.version_ttl_ms AS "versionTtlMs", s.labels, s.created_at AS "createdAt",
  s.updated_at AS "updatedAt"`;

/** Columns of a version without its value. Expiry is judged here, by the database's clock. */
export const SECRET_VERSION_COLUMNS = `
  v.version, v.size_bytes AS "sizeBytes", v.created_by AS "createdBy",
  v.created_at AS "versionCreatedAt", v.expires_at AS "expiresAt", v.deleted_at AS "deletedAt",
  v.destroyed_at AS "destroyedAt",
  CASE WHEN v.destroyed_at IS NOT NULL THEN 'destroyed'
       WHEN v.expires_at <= clock_timestamp() THEN 'expired'
       WHEN v.deleted_at IS NOT NULL THEN 'deleted'
       ELSE 'active' END AS state`;

/** The value of a version, sealed. */
export const SEALED_COLUMNS = `v.box, v.tenant_key_version AS "tenantKeyVersion", v.value`;

/** A row of SECRET_COLUMNS as the driver returns it. */
export interface SecretRow {
  readonly namespace: Namespace;
  readonly path: string;
  readonly secretId: string;
  readonly latestVersion: number;
  readonly maxVersions: number;
  readonly casRequired: boolean;
  readonly taskRequired: boolean;
  readonly versionTtlMs: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly createdAt: Date;
  readonly updatedAt: Date;
}

/** A row of SECRET_VERSION_COLUMNS as the driver returns it. */
export interface SecretVersionRow {
  readonly version: number;
  readonly state: SecretVersion["state"];
  readonly sizeBytes: number;
  readonly createdBy: string;
  readonly versionCreatedAt: Date;
  readonly expiresAt: Date | null;
  readonly deletedAt: Date | null;
  readonly destroyedAt: Date | null;
}

/** A row of SEALED_COLUMNS as the driver returns it. */
export interface SealedRow {
  readonly box: Buffer | null;
  readonly tenantKeyVersion: number | null;
  readonly value: Buffer | null;
}

/** Turns a row into the domain's type. */
export function toSecret(row: SecretRow): Secret {
  return {
    namespace: row.namespace,
    path: row.path,
    secretId: row.secretId,
    latestVersion: row.latestVersion,
    maxVersions: row.maxVersions,
    casRequired: row.casRequired,
    taskRequired: row.taskRequired,
    versionTtlMs: Number(row.versionTtlMs),
    labels: row.labels,
    createdAtMs: row.createdAt.getTime(),
    updatedAtMs: row.updatedAt.getTime(),
  };
}

/** Turns a row into the domain's type. */
export function toSecretVersion(row: SecretVersionRow): SecretVersion {
  return {
    version: row.version,
    state: row.state,
    sizeBytes: row.sizeBytes,
    createdBy: row.createdBy,
    createdAtMs: row.versionCreatedAt.getTime(),
    expiresAtMs: row.expiresAt?.getTime(),
    deletedAtMs: row.deletedAt?.getTime(),
    destroyedAtMs: row.destroyedAt?.getTime(),
  };
}

/** Turns a row into the domain's type. */
export function toStoredVersion(row: SecretVersionRow & SealedRow): StoredSecretVersion {
  const { box, tenantKeyVersion, value } = row;
  const whole = box !== null && tenantKeyVersion !== null && value !== null;
  return {
    ...toSecretVersion(row),
    sealed: whole ? { wrapped: { box, tenantKeyVersion }, value } : undefined,
  };
}
