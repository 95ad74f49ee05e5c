import type { ConstraintMeanings, Queryable } from "@nexus/postgres";
import { mapPgError } from "@nexus/postgres";
import { keyChanged, keyExists } from "../domain/keys/key-errors.ts";
import type {
  KeyCount,
  KeyPatch,
  KeyWriter,
  NamedKey,
  NewKeyVersion,
} from "../domain/keys/named-key.ts";
import type { KeyRow } from "./named-key-rows.ts";
import { KEY_COLUMNS, toNamedKey } from "./named-key-rows.ts";

const CONSTRAINTS: ConstraintMeanings = {
  named_keys_pkey: keyExists(),
  // The namespace key was turned, and the one that wrapped is gone already: wrap anew.
  key_versions_tenant_key_fkey: keyChanged(),
};

/** A version that Decrypt used within this time is in use; the contract says so. */
const IN_USE = "24 hours";

const LOCK = `
  SELECT ${KEY_COLUMNS} FROM named_keys k WHERE k.namespace = $1 AND k.name = $2 FOR UPDATE`;

// A revision is taken last in each change, and its row stays locked until the commit: see the migration.
const NEXT_REVISION = "UPDATE key_head SET revision = revision + 1 RETURNING revision";

const INSERT = `
  INSERT INTO named_keys AS k
    (namespace, name, key_id, type, state, latest_version, rotation_period_ms, max_uses, expires_at,
     deletion_allowed, revision)
  VALUES ($1, $2, $3, $4, 'active', 1, $5, $6, $7, $8, $9)
  RETURNING ${KEY_COLUMNS}`;

const INSERT_VERSION = `
  INSERT INTO key_versions (key_id, version, namespace, box, tenant_key_version, public_key)
  VALUES ($1, $2, $3, $4, $5, $6)`;

const ROTATED = `
  UPDATE named_keys k SET latest_version = $2, rotated_at = clock_timestamp(), revision = $3
  WHERE k.key_id = $1 RETURNING ${KEY_COLUMNS}`;

const UPDATE = `
  UPDATE named_keys k SET
    min_decryption_version = coalesce($2, k.min_decryption_version),
    rotation_period_ms = coalesce($3, k.rotation_period_ms),
    max_uses = coalesce($4, k.max_uses),
    expires_at = CASE WHEN $5 THEN $6 ELSE k.expires_at END,
    deletion_allowed = coalesce($7, k.deletion_allowed),
    state = coalesce($8, k.state),
    revision = $9
  WHERE k.key_id = $1 RETURNING ${KEY_COLUMNS}`;

const OLDEST_IN_USE = `
  SELECT min(version) AS version FROM key_versions
  WHERE key_id = $1 AND last_decrypt_at > clock_timestamp() - interval '${IN_USE}'`;

const COUNT = `
  SELECT (count(*) FILTER (WHERE state <> 'destroyed'))::integer AS keys, count(*)::integer AS names
  FROM named_keys WHERE namespace = $1`;

const SHRED_VERSIONS = `
  UPDATE key_versions SET box = NULL, tenant_key_version = NULL WHERE key_id = $1`;
const SHRED = `
  UPDATE named_keys k SET state = 'destroyed', destroyed_at = clock_timestamp(), revision = $2
  WHERE k.key_id = $1 RETURNING ${KEY_COLUMNS}`;

function patchValues(patch: KeyPatch): readonly unknown[] {
  const { expiresAtMs } = patch;
  return [
    patch.minDecryptionVersion ?? null,
    patch.rotationPeriodMs ?? null,
    patch.maxUses ?? null,
    expiresAtMs !== undefined,
    expiresAtMs === undefined || expiresAtMs === null ? null : new Date(expiresAtMs),
    patch.deletionAllowed ?? null,
    patch.state ?? null,
  ];
}

/** Binds the named keys to a transaction. */
export function createNamedKeyWriter(client: Queryable): KeyWriter {
  async function revision(): Promise<string> {
    const { rows } = await client.query<{ revision: string }>(NEXT_REVISION);
    return (rows[0] as { revision: string }).revision;
  }

  async function change(text: string, values: readonly unknown[]): Promise<NamedKey> {
    const { rows } = await client.query<KeyRow>(text, [...values, await revision()]);
    return toNamedKey(rows[0] as KeyRow);
  }

  async function insertVersion(
    { namespace, keyId }: Pick<NamedKey, "namespace" | "keyId">,
    { version, wrapped, publicKey }: NewKeyVersion,
  ): Promise<void> {
    const { box, tenantKeyVersion } = wrapped;
    const values = [keyId, version, namespace, box, tenantKeyVersion, publicKey ?? null];
    try {
      await client.query(INSERT_VERSION, values);
    } catch (error) {
      throw mapPgError(error, CONSTRAINTS);
    }
  }

  return {
    async lock({ namespace, name }) {
      const { rows } = await client.query<KeyRow>(LOCK, [namespace, name]);
      return rows[0] === undefined ? undefined : toNamedKey(rows[0]);
    },
    async countOf(namespace) {
      const { rows } = await client.query<KeyCount>(COUNT, [namespace]);
      return rows[0] ?? { keys: 0, names: 0 };
    },
    async insert(key, first) {
      const { namespace, name, keyId, type, rotationPeriodMs, maxUses, expiresAtMs } = key;
      const expiresAt = expiresAtMs === undefined ? null : new Date(expiresAtMs);
      const policy = [rotationPeriodMs, maxUses, expiresAt, key.deletionAllowed];
      try {
        const inserted = await change(INSERT, [namespace, name, keyId, type, ...policy]);
        await insertVersion(key, first);
        return inserted;
      } catch (error) {
        throw mapPgError(error, CONSTRAINTS);
      }
    },
    async addVersion(key, version) {
      await insertVersion(key, version);
      return change(ROTATED, [key.keyId, version.version]);
    },
    update: (key, patch) => change(UPDATE, [key.keyId, ...patchValues(patch)]),
    async oldestVersionInUse(keyId) {
      const { rows } = await client.query<{ version: number | null }>(OLDEST_IN_USE, [keyId]);
      return rows[0]?.version ?? undefined;
    },
    async shred({ keyId }) {
      await client.query(SHRED_VERSIONS, [keyId]);
      return change(SHRED, [keyId]);
    },
  };
}
