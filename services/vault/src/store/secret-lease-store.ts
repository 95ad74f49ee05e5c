import type { Pool, Queryable } from "@nexus/postgres";
import { decodePageToken, encodePageToken } from "@nexus/postgres";
import type { Namespace } from "@nexus/shared";
import type {
  SecretLease,
  SecretLeaseTable,
  SecretLeaseWriter,
} from "../domain/secrets/secret-lease.ts";
import { filteredPage } from "./filtered-page.ts";
import { endOfPrefix } from "./secret-store.ts";

const PAGE = "secret-leases";
/** Leases read for one page at most. Their ids, which are in page tokens, are of use to nobody but their holders. */
const SCAN_MAX = 10_000;
/** No lease is renewed beyond this time after it was taken; the contract says so. */
const LIFE_MAX = "30 days";

const COLUMNS = `
  l.lease_id AS "leaseId", l.namespace, l.path, l.version, l.principal_id AS "principalId",
  l.task_id AS "taskId", l.fence, l.created_at AS "createdAt", l.expires_at AS "expiresAt"`;
const IN_FORCE = "l.expires_at > clock_timestamp()";
const HELD = `l.lease_id = $1 AND l.namespace = $2 AND l.principal_id = $3 AND ${IN_FORCE}`;

const FIND = `SELECT ${COLUMNS} FROM secret_leases l WHERE ${HELD}`;

// least() leaves a version out that never expires.
const INSERT = `
  INSERT INTO secret_leases
    (lease_id, namespace, secret_id, version, path, principal_id, task_id, fence, expires_at)
  SELECT $1, $2, v.secret_id, v.version, $5, $6, $8, $9,
    least(clock_timestamp() + $7 * interval '1 millisecond', v.expires_at)
  FROM secret_versions v WHERE v.secret_id = $3 AND v.version = $4`;

const COUNT = `
  SELECT count(*)::integer AS count FROM secret_leases l WHERE l.secret_id = $1 AND ${IN_FORCE}`;

// A version that was deleted, destroyed or removed has no lease left to renew.
const RENEW = `
  UPDATE secret_leases l SET expires_at = least(
    clock_timestamp() + $4 * interval '1 millisecond',
    l.created_at + interval '${LIFE_MAX}',
    v.expires_at)
  FROM secret_versions v JOIN secrets s ON s.secret_id = v.secret_id
  WHERE ${HELD} AND v.secret_id = l.secret_id AND v.version = l.version
  RETURNING ${COLUMNS}, s.latest_version AS "latestVersion"`;

const RELEASE = `DELETE FROM secret_leases l WHERE ${HELD}`;

const LIST_BY_PATH = `
  SELECT ${COLUMNS} FROM secret_leases l
  WHERE l.namespace = $1 AND l.path >= $2 AND l.path < $3 AND (l.path, l.lease_id) > ($4, $5)
    AND ${IN_FORCE}
  ORDER BY l.path, l.lease_id LIMIT $6`;

const END = `
  DELETE FROM secret_leases l WHERE l.namespace = $1 AND l.lease_id = ANY ($2) AND ${IN_FORCE}`;

const LIST = `
  SELECT ${COLUMNS} FROM secret_leases l
  WHERE l.namespace = $1 AND l.lease_id > $2 AND l.path >= $3 AND l.path < $4 AND ${IN_FORCE}
  ORDER BY l.lease_id LIMIT $5`;

interface Row {
  readonly leaseId: string;
  readonly namespace: Namespace;
  readonly path: string;
  readonly version: number;
  readonly principalId: string;
  readonly taskId: string | null;
  readonly fence: string | null;
  readonly createdAt: Date;
  readonly expiresAt: Date;
}

function toLease({ taskId, fence, createdAt, expiresAt, ...row }: Row): SecretLease {
  const { leaseId, namespace, path, version, principalId } = row;
  return {
    leaseId,
    namespace,
    path,
    version,
    principalId,
    task: taskId === null || fence === null ? undefined : { taskId, fence: BigInt(fence) },
    createdAtMs: createdAt.getTime(),
    expiresAtMs: expiresAt.getTime(),
  };
}

/** Creates the table of leases. */
export function createSecretLeaseTable(pool: Pool): SecretLeaseTable {
  async function select(text: string, values: readonly unknown[]): Promise<SecretLease[]> {
    return (await pool.query<Row>(text, values)).rows.map(toLease);
  }

  return {
    async find({ leaseId, namespace, principalId }) {
      return (await select(FIND, [leaseId, namespace, principalId]))[0];
    },
    async renew({ leaseId, namespace, principalId }, ttlMs) {
      const values = [leaseId, namespace, principalId, ttlMs];
      type Renewed = Row & { readonly latestVersion: number };
      const [row] = (await pool.query<Renewed>(RENEW, values)).rows;
      if (row === undefined) return undefined;
      return { lease: toLease(row), latestVersion: row.latestVersion };
    },
    async release({ leaseId, namespace, principalId }) {
      await pool.query(RELEASE, [leaseId, namespace, principalId]);
    },
    listByPath({ namespace, prefix }, after, limit) {
      const behind = [after?.path ?? "", after?.leaseId ?? ""];
      const values = [namespace, prefix, endOfPrefix(prefix), ...behind, limit];
      return select(LIST_BY_PATH, values);
    },
    async end(namespace, leaseIds) {
      return (await pool.query(END, [namespace, leaseIds])).rowCount;
    },
    list({ namespace, prefix }, page, mayShow) {
      const kind = `${PAGE}/${prefix}`;
      const [after = ""] = decodePageToken(kind, page.token, ["text"]) ?? [];
      return filteredPage({
        size: page.size,
        after: String(after),
        scanMax: SCAN_MAX,
        mayShow,
        read: (behind, limit) =>
          select(LIST, [namespace, behind, prefix, endOfPrefix(prefix), limit]),
        keyOf: ({ leaseId }) => leaseId,
        tokenOf: (leaseId) => encodePageToken(kind, [leaseId]),
      });
    },
  };
}

/** Binds the leases to a transaction. */
export function createSecretLeaseWriter(client: Queryable): SecretLeaseWriter {
  return {
    async insert({ leaseId, namespace, secretId, version, path, principalId, task, ttlMs }) {
      const values = [leaseId, namespace, secretId, version, path, principalId, ttlMs];
      const held = [task?.taskId ?? null, task?.fence.toString() ?? null];
      await client.query(INSERT, [...values, ...held]);
    },
    async countOf(secretId) {
      return (await client.query<{ count: number }>(COUNT, [secretId])).rows[0]?.count ?? 0;
    },
  };
}
