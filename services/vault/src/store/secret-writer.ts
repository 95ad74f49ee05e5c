import type { ConstraintMeanings, Queryable } from "@nexus/postgres";
import { mapPgError } from "@nexus/postgres";
import { keyChanged } from "../domain/keys/key-errors.ts";
import type {
  Secret,
  SecretSettings,
  SecretVersion,
  SecretWriter,
} from "../domain/secrets/secret.ts";
import {
  SECRET_COLUMNS,
  SECRET_VERSION_COLUMNS,
  type SecretRow,
  type SecretVersionRow,
  toSecret,
  toSecretVersion,
} from "./secret-rows.ts";

const CONSTRAINTS: ConstraintMeanings = {
  // The namespace key was turned, and the one that wrapped is gone already: wrap anew.
  secret_versions_tenant_key_fkey: keyChanged(),
};

/** Versions kept of a secret unless its owner says otherwise; the contract says so. */
const MAX_VERSIONS_DEFAULT = 10;

const LOCK = `
  SELECT ${SECRET_COLUMNS} FROM secrets s WHERE s.namespace = $1 AND s.path = $2 FOR UPDATE`;

// A second call for the path waits here for the first one's commit, and then makes nothing.
const INSERT = `
  INSERT INTO secrets AS s (namespace, path, secret_id, latest_version, max_versions)
  VALUES ($1, $2, $3, 0, ${MAX_VERSIONS_DEFAULT})
  ON CONFLICT (namespace, path) DO NOTHING
  RETURNING ${SECRET_COLUMNS}`;

const TURN = `
  UPDATE secrets s SET latest_version = $2, updated_at = clock_timestamp()
  WHERE s.secret_id = $1 RETURNING ${SECRET_COLUMNS}`;

const INSERT_VERSION = `
  INSERT INTO secret_versions AS v
    (secret_id, version, namespace, box, tenant_key_version, value, size_bytes, created_by, expires_at)
  VALUES ($1, $2, $3, $4, $5, $6, $7, $8,
    CASE WHEN $9::bigint = 0 THEN NULL
         ELSE clock_timestamp() + $9 * interval '1 millisecond' END)
  RETURNING ${SECRET_VERSION_COLUMNS}`;

const DROP_OLD = "DELETE FROM secret_versions WHERE secret_id = $1 AND version <= $2";

const UPDATE = `
  UPDATE secrets s SET
    max_versions = coalesce($2, s.max_versions),
    cas_required = coalesce($3, s.cas_required),
    version_ttl_ms = coalesce($4, s.version_ttl_ms),
    labels = coalesce($5, s.labels),
    task_required = coalesce($6, s.task_required),
    updated_at = clock_timestamp()
  WHERE s.secret_id = $1 RETURNING ${SECRET_COLUMNS}`;

const SELECT_VERSIONS = `
  SELECT ${SECRET_VERSION_COLUMNS} FROM secret_versions v
  WHERE v.secret_id = $1 AND v.version = ANY ($2) ORDER BY v.version DESC FOR UPDATE`;

// What has expired or is destroyed stays as it is.
const DELETE = `
  UPDATE secret_versions SET deleted_at = clock_timestamp()
  WHERE secret_id = $1 AND version = ANY ($2) AND deleted_at IS NULL AND destroyed_at IS NULL
    AND (expires_at IS NULL OR expires_at > clock_timestamp())`;

const UNDELETE = `
  UPDATE secret_versions SET deleted_at = NULL WHERE secret_id = $1 AND version = ANY ($2)`;

const DESTROY = `
  UPDATE secret_versions
  SET destroyed_at = clock_timestamp(), box = NULL, tenant_key_version = NULL, value = NULL
  WHERE secret_id = $1 AND version = ANY ($2) AND destroyed_at IS NULL`;

const END_LEASES = "DELETE FROM secret_leases WHERE secret_id = $1 AND version = ANY ($2)";

/** Binds the secrets to a transaction. */
export function createSecretWriter(client: Queryable): SecretWriter {
  async function select(secretId: string, versions: readonly number[]): Promise<SecretVersion[]> {
    const { rows } = await client.query<SecretVersionRow>(SELECT_VERSIONS, [secretId, versions]);
    return rows.map(toSecretVersion);
  }

  async function change(
    text: string,
    { secretId }: Secret,
    versions: readonly number[],
  ): Promise<SecretVersion[]> {
    await client.query(text, [secretId, versions]);
    return select(secretId, versions);
  }

  async function dropOld({ secretId, latestVersion, maxVersions }: Secret): Promise<void> {
    await client.query(DROP_OLD, [secretId, latestVersion - maxVersions]);
  }

  return {
    async lock({ namespace, path }) {
      const [row] = (await client.query<SecretRow>(LOCK, [namespace, path])).rows;
      return row === undefined ? undefined : toSecret(row);
    },
    async countOf(namespace) {
      const text = "SELECT count(*)::integer AS count FROM secrets WHERE namespace = $1";
      return (await client.query<{ count: number }>(text, [namespace])).rows[0]?.count ?? 0;
    },
    async insertIfAbsent({ namespace, path }, secretId) {
      const [row] = (await client.query<SecretRow>(INSERT, [namespace, path, secretId])).rows;
      return row === undefined ? undefined : toSecret(row);
    },
    async addVersion({ secretId, namespace, latestVersion }, version) {
      const { sealed, sizeBytes, createdBy, ttlMs } = version;
      const { box, tenantKeyVersion } = sealed.wrapped;
      const number = latestVersion + 1;
      const stored = [secretId, number, namespace, box, tenantKeyVersion, sealed.value];
      const values = [...stored, sizeBytes, createdBy, ttlMs];
      try {
        const { rows } = await client.query<SecretVersionRow>(INSERT_VERSION, values);
        const turned = await client.query<SecretRow>(TURN, [secretId, number]);
        const secret = toSecret(turned.rows[0] as SecretRow);
        await dropOld(secret);
        return { secret, version: toSecretVersion(rows[0] as SecretVersionRow) };
      } catch (error) {
        throw mapPgError(error, CONSTRAINTS);
      }
    },
    async update({ secretId }, patch) {
      const { rows } = await client.query<SecretRow>(UPDATE, [secretId, ...patchValues(patch)]);
      const secret = toSecret(rows[0] as SecretRow);
      await dropOld(secret);
      return secret;
    },
    lockVersions: ({ secretId }, versions) => select(secretId, versions),
    async deleteVersions(secret, versions) {
      await client.query(END_LEASES, [secret.secretId, versions]);
      return change(DELETE, secret, versions);
    },
    undeleteVersions: (secret, versions) => change(UNDELETE, secret, versions),
    async destroyVersions(secret, versions) {
      await client.query(END_LEASES, [secret.secretId, versions]);
      return change(DESTROY, secret, versions);
    },
    async destroy({ secretId }) {
      await client.query("DELETE FROM secrets WHERE secret_id = $1", [secretId]);
    },
  };
}

function patchValues(patch: Partial<SecretSettings>): readonly unknown[] {
  const { maxVersions, casRequired, taskRequired, versionTtlMs, labels } = patch;
  return [
    maxVersions ?? null,
    casRequired ?? null,
    versionTtlMs ?? null,
    labels === undefined ? null : JSON.stringify(labels),
    taskRequired ?? null,
  ];
}
