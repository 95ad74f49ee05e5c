import type { Pool } from "@nexus/postgres";
import type { Namespace } from "@nexus/shared";
import type { TenantKeyRow, TenantKeyStore, WrapTargets } from "../domain/keys/tenant-key.ts";

const COLUMNS = `
  namespace, version, root_key_id AS "rootKeyId", root_box AS "rootBox",
  recovery_key_id AS "recoveryKeyId", recovery_box AS "recoveryBox"`;
const STALE =
  "(root_key_id <> $1 OR recovery_key_id IS DISTINCT FROM coalesce($2, recovery_key_id))";

const NEWEST = `
  SELECT ${COLUMNS} FROM tenant_keys WHERE namespace = $1 ORDER BY version DESC LIMIT 1`;
const FIND = `SELECT ${COLUMNS} FROM tenant_keys WHERE namespace = $1 AND version = $2`;
const LIST = `SELECT ${COLUMNS} FROM tenant_keys WHERE namespace = $1 ORDER BY version`;
const LIST_STALE = `
  SELECT ${COLUMNS} FROM tenant_keys WHERE ${STALE} AND (namespace, version) > ($3, $4)
  ORDER BY namespace, version LIMIT $5`;
const COUNT = `
  SELECT count(*)::integer AS total, (count(*) FILTER (WHERE ${STALE}))::integer AS stale
  FROM tenant_keys`;
const INSERT = `
  INSERT INTO tenant_keys
    (namespace, version, root_key_id, root_box, recovery_key_id, recovery_box)
  VALUES ($1, $2, $3, $4, $5, $6)
  ON CONFLICT (namespace, version) DO NOTHING`;
const REPLACE = `
  UPDATE tenant_keys SET root_key_id = $3, root_box = $4, recovery_key_id = $5, recovery_box = $6
  WHERE namespace = $1 AND version = $2 AND root_box = $7`;

interface Row {
  readonly namespace: Namespace;
  readonly version: number;
  readonly rootKeyId: string;
  readonly rootBox: Buffer;
  readonly recoveryKeyId: string | null;
  readonly recoveryBox: Buffer | null;
}

function toTenantKey({ namespace, version, rootKeyId, rootBox, ...row }: Row): TenantKeyRow {
  const { recoveryKeyId, recoveryBox } = row;
  const recovery =
    recoveryKeyId === null || recoveryBox === null
      ? undefined
      : { recoveryKeyId, box: recoveryBox };
  return { namespace, version, wrapped: { rootKeyId, box: rootBox }, recovery };
}

function toValues({ namespace, version, wrapped, recovery }: TenantKeyRow): readonly unknown[] {
  const { rootKeyId, box } = wrapped;
  const { recoveryKeyId = null, box: recoveryBox = null } = recovery ?? {};
  return [namespace, version, rootKeyId, box, recoveryKeyId, recoveryBox];
}

function targetValues({ rootKeyId, recoveryKeyId }: WrapTargets): readonly unknown[] {
  return [rootKeyId, recoveryKeyId ?? null];
}

/** Creates the store of tenant keys. */
export function createTenantKeyStore(pool: Pool): TenantKeyStore {
  async function select(text: string, values: readonly unknown[]): Promise<TenantKeyRow[]> {
    return (await pool.query<Row>(text, values)).rows.map(toTenantKey);
  }

  return {
    newest: async (namespace) => (await select(NEWEST, [namespace]))[0],
    find: async (namespace, version) => (await select(FIND, [namespace, version]))[0],
    list: (namespace) => select(LIST, [namespace]),
    async insertIfAbsent(row) {
      return (await pool.query(INSERT, toValues(row))).rowCount === 1;
    },
    listStale(targets, after, limit) {
      const behind = [after?.namespace ?? "", after?.version ?? 0];
      return select(LIST_STALE, [...targetValues(targets), ...behind, limit]);
    },
    async replace(from, to) {
      await pool.query(REPLACE, [...toValues(to), from.wrapped.box]);
    },
    async count(targets) {
      const { rows } = await pool.query<{ total: number; stale: number }>(
        COUNT,
        targetValues(targets),
      );
      return rows[0] ?? { total: 0, stale: 0 };
    },
  };
}
