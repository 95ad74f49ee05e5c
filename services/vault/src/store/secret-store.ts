import type { Pool } from "@nexus/postgres";
import { decodePageToken, encodePageToken } from "@nexus/postgres";
import type { Namespace } from "@nexus/shared";
import type { SecretReader, StaleSecretVersion } from "../domain/secrets/secret.ts";
import { SECRETS_PER_NAMESPACE_MAX } from "../domain/secrets/secret-store.ts";
import { filteredPage } from "./filtered-page.ts";
import {
  SEALED_COLUMNS,
  SECRET_COLUMNS,
  SECRET_VERSION_COLUMNS,
  type SealedRow,
  type SecretRow,
  type SecretVersionRow,
  toSecret,
  toSecretVersion,
  toStoredVersion,
} from "./secret-rows.ts";

const SECRETS_PAGE = "secrets";
const VERSIONS_PAGE = "secret-versions";
/** Every secret of a namespace fits into one scan, with room for puts that went beyond the limit side by side. */
const SCAN_MAX = 2 * SECRETS_PER_NAMESPACE_MAX;
/** Every version is below it. */
const VERSION_CEILING = 2_147_483_647;
/** Sorts behind every character of a path, and the column sorts by bytes. */
const BEHIND_ALL = "~";

const FIND = `SELECT ${SECRET_COLUMNS} FROM secrets s WHERE s.namespace = $1 AND s.path = $2`;

const FIND_VERSION = `
  SELECT ${SECRET_COLUMNS}, ${SECRET_VERSION_COLUMNS}, ${SEALED_COLUMNS}
  FROM secrets s
  LEFT JOIN secret_versions v ON v.secret_id = s.secret_id
    AND v.version = CASE WHEN $3::integer = 0 THEN s.latest_version ELSE $3 END
  WHERE s.namespace = $1 AND s.path = $2`;

const LIST = `
  SELECT ${SECRET_COLUMNS} FROM secrets s
  WHERE s.namespace = $1 AND s.path > $2 AND s.path >= $3 AND s.path < $4
  ORDER BY s.path LIMIT $5`;

const LIST_VERSIONS = `
  SELECT ${SECRET_VERSION_COLUMNS} FROM secret_versions v
  WHERE v.secret_id = $1 AND v.version < $2 ORDER BY v.version DESC LIMIT $3`;

// Few namespaces turn their key at any time, so the search begins with those that have more than one.
const LIST_STALE = `
  WITH turning AS (
    SELECT namespace, max(version) AS newest FROM tenant_keys GROUP BY namespace HAVING count(*) > 1
  )
  SELECT s.namespace, s.path, v.secret_id AS "secretId", v.version, v.box,
    v.tenant_key_version AS "tenantKeyVersion"
  FROM turning t
  JOIN secret_versions v ON v.namespace = t.namespace AND v.tenant_key_version < t.newest
  JOIN secrets s ON s.secret_id = v.secret_id
  WHERE (v.secret_id, v.version) > ($1, $2)
  ORDER BY v.secret_id, v.version LIMIT $3`;

const REPLACE_WRAPPING = `
  UPDATE secret_versions SET box = $3, tenant_key_version = $4
  WHERE secret_id = $1 AND version = $2 AND box = $5`;

interface StaleRow {
  readonly namespace: Namespace;
  readonly path: string;
  readonly secretId: string;
  readonly version: number;
  readonly box: Buffer;
  readonly tenantKeyVersion: number;
}

/** Where the paths that begin so end. */
export function endOfPrefix(prefix: string): string {
  return `${prefix}${BEHIND_ALL}`;
}

/** Creates the reader of secrets. */
export function createSecretReader(pool: Pool): SecretReader {
  return {
    ...createListings(pool),
    async find({ namespace, path }) {
      const [row] = (await pool.query<SecretRow>(FIND, [namespace, path])).rows;
      return row === undefined ? undefined : toSecret(row);
    },
    async findVersion({ namespace, path }, version) {
      const values = [namespace, path, version];
      const statement = { name: "secrets-find-version", text: FIND_VERSION, values };
      type Row = SecretRow & SecretVersionRow & SealedRow & { readonly version: number | null };
      const [row] = (await pool.query<Row>(statement)).rows;
      if (row === undefined) return undefined;
      const found = row.version === null ? undefined : toStoredVersion(row);
      return { secret: toSecret(row), version: found };
    },
    async listStale(after, limit) {
      const values = [after?.secretId ?? "", after?.version ?? 0, limit];
      return (await pool.query<StaleRow>(LIST_STALE, values)).rows.map(toStale);
    },
    async replaceWrapping({ secretId, version, wrapped: before }, { box, tenantKeyVersion }) {
      await pool.query(REPLACE_WRAPPING, [secretId, version, box, tenantKeyVersion, before.box]);
    },
  };
}

function toStale({ box, tenantKeyVersion, ...row }: StaleRow): StaleSecretVersion {
  return { ...row, wrapped: { box, tenantKeyVersion } };
}

function createListings(pool: Pool): Pick<SecretReader, "list" | "listVersions"> {
  return {
    list({ namespace, prefix }, page, mayShow) {
      const kind = `${SECRETS_PAGE}/${prefix}`;
      const [after = ""] = decodePageToken(kind, page.token, ["text"]) ?? [];
      return filteredPage({
        size: page.size,
        after: String(after),
        scanMax: SCAN_MAX,
        mayShow,
        async read(behind, limit) {
          const values = [namespace, behind, prefix, endOfPrefix(prefix), limit];
          return (await pool.query<SecretRow>(LIST, values)).rows.map(toSecret);
        },
        keyOf: ({ path }) => path,
        tokenOf: (path) => encodePageToken(kind, [path]),
      });
    },
    async listVersions({ secretId }, page) {
      const kind = `${VERSIONS_PAGE}/${secretId}`;
      const [before = VERSION_CEILING] = decodePageToken(kind, page.token, ["integer"]) ?? [];
      const values = [secretId, before, page.size + 1];
      const { rows } = await pool.query<SecretVersionRow>(LIST_VERSIONS, values);
      const items = rows.slice(0, page.size).map(toSecretVersion);
      const last = rows.length > page.size ? items.at(-1) : undefined;
      const nextPageToken = last === undefined ? "" : encodePageToken(kind, [last.version]);
      return { items, nextPageToken };
    },
  };
}
