import type { Pool } from "@nexus/postgres";
import { decodePageToken, encodePageToken } from "@nexus/postgres";
import type { KeyChange, KeyReader, KeyType, NamedKey } from "../domain/keys/named-key.ts";
import type { Page, PageOf } from "../domain/page.ts";
import type { KeyRow, VersionRow } from "./named-key-rows.ts";
import { KEY_COLUMNS, toKeyVersion, toNamedKey, VERSION_COLUMNS } from "./named-key-rows.ts";

const KEYS_PAGE = "named-keys";
const VERSIONS_PAGE = "key-versions";

const FIND = `SELECT ${KEY_COLUMNS} FROM named_keys k WHERE k.namespace = $1 AND k.name = $2`;
const FIND_VERSION = `
  SELECT ${VERSION_COLUMNS} FROM key_versions v WHERE v.key_id = $1 AND v.version = $2`;
const LIST = `
  SELECT ${KEY_COLUMNS} FROM named_keys k
  WHERE k.namespace = $1 AND k.name > $2 ORDER BY k.name LIMIT $3`;
const LIST_VERSIONS = `
  SELECT ${VERSION_COLUMNS} FROM key_versions v
  WHERE v.key_id = $1 AND v.version < $2 ORDER BY v.version DESC LIMIT $3`;

// One row at least, so that the time comes back without changes as well.
const CHANGES = `
  SELECT now.at AS "now", k.namespace, k.name, k.key_id AS "keyId", k.state, k.revision
  FROM (SELECT clock_timestamp() AS at) now
  LEFT JOIN LATERAL (
    SELECT * FROM named_keys WHERE revision > $1 ORDER BY revision LIMIT $2
  ) k ON true
  ORDER BY k.revision`;

const LIST_DUE = `
  SELECT ${KEY_COLUMNS} FROM named_keys k
  WHERE k.state = 'active' AND k.rotation_period_ms > 0
    AND k.rotated_at <= clock_timestamp() - k.rotation_period_ms * interval '1 millisecond'
    AND (k.expires_at IS NULL OR k.expires_at > clock_timestamp())
    AND k.key_id > $1
  ORDER BY k.key_id LIMIT $2`;

// The whole promise of the counter is here: what is taken was never taken before, and never beyond the limit.
const RESERVE = `
  UPDATE key_versions SET uses_reserved = uses_reserved + $3
  WHERE key_id = $1 AND version = $2 AND uses_reserved + $3 <= $4
  RETURNING uses_reserved AS "usesReserved"`;

const MARK_DECRYPTED = `
  UPDATE key_versions v SET last_decrypt_at = clock_timestamp()
  FROM unnest($1::text[], $2::integer[]) AS used (key_id, version)
  WHERE v.key_id = used.key_id AND v.version = used.version`;

// Few namespaces turn their key at any time, so the search begins with those that have more than one.
const LIST_STALE = `
  WITH turning AS (
    SELECT namespace, max(version) AS newest FROM tenant_keys GROUP BY namespace HAVING count(*) > 1
  )
  SELECT ${VERSION_COLUMNS}, k.type
  FROM turning t
  JOIN key_versions v ON v.namespace = t.namespace AND v.tenant_key_version < t.newest
  JOIN named_keys k ON k.key_id = v.key_id
  WHERE (v.key_id, v.version) > ($1, $2)
  ORDER BY v.key_id, v.version LIMIT $3`;

const REPLACE_WRAPPING = `
  UPDATE key_versions SET box = $3, tenant_key_version = $4
  WHERE key_id = $1 AND version = $2 AND box = $5`;

// Vault's own namespace keeps all versions: its boxes name them, and there are few. The foreign key has the last word.
const DELETE_UNUSED = `
  DELETE FROM tenant_keys t
  WHERE t.namespace <> 'nexus-system'
    AND t.version < (SELECT max(version) FROM tenant_keys n WHERE n.namespace = t.namespace)
    AND NOT EXISTS (SELECT FROM key_versions v
                    WHERE v.namespace = t.namespace AND v.tenant_key_version = t.version)
    AND NOT EXISTS (SELECT FROM secret_versions v
                    WHERE v.namespace = t.namespace AND v.tenant_key_version = t.version)`;

const PROGRESS = `
  WITH newest AS (SELECT coalesce(max(version), 0) AS version FROM tenant_keys WHERE namespace = $1),
  wrapped AS (
    SELECT tenant_key_version FROM key_versions WHERE namespace = $1 AND box IS NOT NULL
    UNION ALL
    SELECT tenant_key_version FROM secret_versions WHERE namespace = $1 AND box IS NOT NULL
  )
  SELECT newest.version AS "namespaceKeyVersion", count(w.tenant_key_version)::integer AS total,
    (count(*) FILTER (WHERE w.tenant_key_version < newest.version))::integer AS remaining
  FROM newest LEFT JOIN wrapped w ON true
  GROUP BY newest.version`;

/** Every version is below it. */
const VERSION_CEILING = 2_147_483_647;

interface ChangeRow extends Omit<KeyChange, "revision"> {
  readonly now: Date;
  /** Null in the one row that only brings the time. */
  readonly revision: string | null;
}

function toKeyChange({ namespace, name, keyId, state }: ChangeRow, revision: bigint): KeyChange {
  return { namespace, name, keyId, state, revision };
}

function pageOf<R, T>(
  rows: readonly R[],
  page: PageOf,
  { convert, tokenOf }: { convert: (row: R) => T; tokenOf: (item: T) => string },
): Page<T> {
  const items = rows.slice(0, page.size).map(convert);
  const last = rows.length > page.size ? items.at(-1) : undefined;
  return { items, nextPageToken: last === undefined ? "" : tokenOf(last) };
}

/** Creates the reader of named keys. */
export function createNamedKeyReader(pool: Pool): KeyReader {
  return {
    ...createListings(pool),
    ...createRewraps(pool),
    async find({ namespace, name }) {
      const statement = { name: "named-keys-find", text: FIND, values: [namespace, name] };
      const [row] = (await pool.query<KeyRow>(statement)).rows;
      return row === undefined ? undefined : toNamedKey(row);
    },
    async findVersion(keyId, version) {
      const values = [keyId, version];
      const statement = { name: "key-versions-find", text: FIND_VERSION, values };
      const [row] = (await pool.query<VersionRow>(statement)).rows;
      return row === undefined ? undefined : toKeyVersion(row);
    },
    async head() {
      const { rows } = await pool.query<{ revision: string }>("SELECT revision FROM key_head");
      return BigInt(rows[0]?.revision ?? 0);
    },
    async changesAfter(revision, limit) {
      const values = [revision.toString(), limit];
      const statement = { name: "named-keys-changes", text: CHANGES, values };
      const { rows } = await pool.query<ChangeRow>(statement);
      const changes = rows.flatMap((row) =>
        row.revision === null ? [] : [toKeyChange(row, BigInt(row.revision))],
      );
      return { changes, nowMs: (rows[0]?.now ?? new Date(0)).getTime() };
    },
    async reserveUses({ keyId, version, count, limit }) {
      const values = [keyId, version, count, limit];
      const statement = { name: "key-versions-reserve", text: RESERVE, values };
      const { rows } = await pool.query<{ usesReserved: string }>(statement);
      return rows[0] === undefined ? undefined : Number(rows[0].usesReserved);
    },
    async markDecrypted(versions) {
      const keyIds = versions.map(({ keyId }) => keyId);
      await pool.query(MARK_DECRYPTED, [keyIds, versions.map(({ version }) => version)]);
    },
  };
}

function createListings(pool: Pool): Pick<KeyReader, "list" | "listVersions" | "listDue"> {
  return {
    async list(namespace, page) {
      const [after = ""] = decodePageToken(KEYS_PAGE, page.token, ["text"]) ?? [];
      const { rows } = await pool.query<KeyRow>(LIST, [namespace, after, page.size + 1]);
      const tokenOf = ({ name }: NamedKey) => encodePageToken(KEYS_PAGE, [name]);
      return pageOf(rows, page, { convert: toNamedKey, tokenOf });
    },
    async listVersions(keyId, page) {
      const kind = `${VERSIONS_PAGE}/${keyId}`;
      const [before = VERSION_CEILING] = decodePageToken(kind, page.token, ["integer"]) ?? [];
      const { rows } = await pool.query<VersionRow>(LIST_VERSIONS, [keyId, before, page.size + 1]);
      return pageOf(rows, page, {
        convert: toKeyVersion,
        tokenOf: ({ version }) => encodePageToken(kind, [version]),
      });
    },
    async listDue(afterKeyId, limit) {
      return (await pool.query<KeyRow>(LIST_DUE, [afterKeyId, limit])).rows.map(toNamedKey);
    },
  };
}

function createRewraps(
  pool: Pool,
): Pick<
  KeyReader,
  "listStaleVersions" | "replaceWrapping" | "deleteUnusedTenantKeys" | "progress"
> {
  return {
    async listStaleVersions(after, limit) {
      const values = [after?.keyId ?? "", after?.version ?? 0, limit];
      const { rows } = await pool.query<VersionRow & { readonly type: KeyType }>(
        LIST_STALE,
        values,
      );
      return rows.map((row) => ({ ...toKeyVersion(row), type: row.type }));
    },
    async replaceWrapping({ keyId, version, wrapped: before }, { box, tenantKeyVersion }) {
      await pool.query(REPLACE_WRAPPING, [keyId, version, box, tenantKeyVersion, before?.box]);
    },
    async deleteUnusedTenantKeys() {
      await pool.query(DELETE_UNUSED);
    },
    async progress(namespace) {
      const { rows } = await pool.query<Awaited<ReturnType<KeyReader["progress"]>>>(PROGRESS, [
        namespace,
      ]);
      return rows[0] ?? { namespaceKeyVersion: 0, total: 0, remaining: 0 };
    },
  };
}
