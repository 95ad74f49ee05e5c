import type { Queryable } from "@nexus/postgres";
import { tokenScopesOf } from "../domain/access/policy.ts";
import type { AccessWriter } from "../domain/access/ports.ts";
import type { PolicyRow, RoleRow } from "./access-rows.ts";
import { POLICY_COLUMNS, ROLE_COLUMNS, toPolicy, toRole } from "./access-rows.ts";

// Not a row's lock: every statement after it has a snapshot of its own that shows what the holder before committed.
const LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('vault/access/' || $1, 0))";
const LOCK_SHARED =
  "SELECT pg_advisory_xact_lock_shared(hashtextextended('vault/access/' || $1, 0))";

const FIND_ROLES = `
  SELECT ${ROLE_COLUMNS} FROM roles r WHERE r.namespace = $1 AND r.name = ANY ($2::text[])`;

const PUT_ROLE = `
  INSERT INTO roles AS r (namespace, name, description, scopes) VALUES ($1, $2, $3, $4)
  ON CONFLICT (namespace, name) DO UPDATE SET
    description = excluded.description, scopes = excluded.scopes, updated_at = now()
  RETURNING ${ROLE_COLUMNS}`;

const ROLE_IN_USE = `
  SELECT 1 WHERE EXISTS (SELECT FROM principals WHERE namespace = $1 AND roles @> ARRAY[$2])
    OR EXISTS (SELECT FROM policies WHERE namespace = $1 AND roles @> ARRAY[$2])`;

const ALL_POLICIES = `SELECT ${POLICY_COLUMNS} FROM policies y WHERE y.namespace = $1`;

const PUT_POLICY = `
  INSERT INTO policies AS y (namespace, name, description, statements, everyone, roles, principal_ids,
    allowed_scopes, limited_scopes, denied_scopes)
  VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
  ON CONFLICT (namespace, name) DO UPDATE SET
    description = excluded.description, statements = excluded.statements,
    everyone = excluded.everyone, roles = excluded.roles, principal_ids = excluded.principal_ids,
    allowed_scopes = excluded.allowed_scopes, limited_scopes = excluded.limited_scopes,
    denied_scopes = excluded.denied_scopes, updated_at = now()
  RETURNING ${POLICY_COLUMNS}`;

const UNKNOWN_PRINCIPALS = `
  SELECT id FROM unnest($2::text[]) AS id
  WHERE NOT EXISTS (SELECT FROM principals WHERE namespace = $1 AND principal_id = id)`;

const SET_ROLES = `
  UPDATE principals SET roles = $3, updated_at = now() WHERE namespace = $1 AND principal_id = $2`;

const SET_SCOPES = `
  UPDATE principals SET scopes = $3, updated_at = now() WHERE namespace = $1 AND principal_id = $2`;

/** The scopes of one kind that roles and policies give a principal. */
function scopesFrom(column: string, andRoles = ""): string {
  return `ARRAY(
    SELECT DISTINCT s FROM (
      SELECT unnest(y.${column}) FROM policies y WHERE y.namespace = $1
        AND (y.everyone OR y.roles && t.roles OR y.principal_ids @> ARRAY[t.principal_id])
      ${andRoles}) AS all_of (s) ORDER BY s)`;
}

// Rows are locked in the order in which grants lock them, so neither waits for the other for ever. A principal who is
// being given a token now is waited for; the revocation that follows is dated after that.
const RECOMPUTE = `
  WITH target AS MATERIALIZED (
    SELECT p.principal_id, p.roles FROM principals p
    WHERE p.namespace = $1
      AND ($2 OR p.roles && $3::text[] OR p.principal_id = ANY ($4::text[]))
    ORDER BY p.namespace, p.principal_id
    FOR NO KEY UPDATE
  ), rules AS (
    SELECT t.principal_id,
      ${scopesFrom(
        "allowed_scopes",
        "UNION SELECT unnest(r.scopes) FROM roles r WHERE r.namespace = $1 AND r.name = ANY (t.roles)",
      )} AS granted,
      ${scopesFrom("limited_scopes")} AS limited,
      ${scopesFrom("denied_scopes")} AS denied
    FROM target t
  ), changed AS (
    UPDATE principals p SET granted_scopes = rules.granted, limited_scopes = rules.limited,
      denied_scopes = rules.denied, updated_at = now()
    FROM rules WHERE p.namespace = $1 AND p.principal_id = rules.principal_id
    RETURNING p.principal_id, cardinality(p.scopes) + cardinality(p.granted_scopes)
      + cardinality(p.limited_scopes) + cardinality(p.denied_scopes) AS count
  )
  SELECT principal_id AS "principalId" FROM changed WHERE count > $5 ORDER BY principal_id LIMIT 1`;

const ANNOUNCE = `
  WITH head AS (UPDATE access_head SET revision = revision + 1 RETURNING revision)
  INSERT INTO access_changes (namespace, revision) SELECT $1, revision FROM head
  ON CONFLICT (namespace) DO UPDATE SET revision = excluded.revision`;

type RoleWriter = Pick<
  AccessWriter,
  "findRole" | "findRoles" | "putRole" | "deleteRole" | "isRoleInUse" | "countRoles"
>;

function createRoleWriter(client: Queryable): RoleWriter {
  const findRoles: AccessWriter["findRoles"] = async (namespace, names) =>
    (await client.query<RoleRow>(FIND_ROLES, [namespace, names])).rows.map(toRole);
  return {
    findRole: async (namespace, name) => (await findRoles(namespace, [name]))[0],
    findRoles,
    async putRole(namespace, { name, description, scopes }) {
      const { rows } = await client.query<RoleRow>(PUT_ROLE, [
        namespace,
        name,
        description,
        scopes,
      ]);
      return toRole(rows[0] as RoleRow);
    },
    async deleteRole(namespace, name) {
      const text = "DELETE FROM roles WHERE namespace = $1 AND name = $2";
      return (await client.query(text, [namespace, name])).rowCount === 1;
    },
    async isRoleInUse(namespace, name) {
      return (await client.query(ROLE_IN_USE, [namespace, name])).rows.length > 0;
    },
    async countRoles(namespace) {
      const text = "SELECT count(*)::integer AS count FROM roles WHERE namespace = $1";
      const { rows } = await client.query<{ readonly count: number }>(text, [namespace]);
      return rows[0]?.count ?? 0;
    },
  };
}

type PolicyWriter = Pick<AccessWriter, "allPolicies" | "putPolicy" | "deletePolicy">;

function createPolicyWriter(client: Queryable): PolicyWriter {
  return {
    async allPolicies(namespace) {
      return (await client.query<PolicyRow>(ALL_POLICIES, [namespace])).rows.map(toPolicy);
    },
    async putPolicy(namespace, policy) {
      const { name, description, statements, everyone, roles, principalIds } = policy;
      const { allowed, limited, denied } = tokenScopesOf(statements);
      const { rows } = await client.query<PolicyRow>(PUT_POLICY, [
        namespace,
        name,
        description,
        JSON.stringify(statements),
        everyone,
        roles,
        principalIds,
        allowed,
        limited,
        denied,
      ]);
      return toPolicy(rows[0] as PolicyRow);
    },
    async deletePolicy(namespace, name) {
      await client.query("DELETE FROM policies WHERE namespace = $1 AND name = $2", [
        namespace,
        name,
      ]);
    },
  };
}

/** Binds roles and policies to a transaction. */
export function createAccessWriter(client: Queryable): AccessWriter {
  return {
    ...createRoleWriter(client),
    ...createPolicyWriter(client),
    async lock(namespace, mode) {
      await client.query(mode === "whole" ? LOCK : LOCK_SHARED, [namespace]);
    },
    async unknownPrincipals(namespace, ids) {
      const { rows } = await client.query<{ readonly id: string }>(UNKNOWN_PRINCIPALS, [
        namespace,
        ids,
      ]);
      return rows.map(({ id }) => id);
    },
    async setRoles({ namespace, principalId }, roles) {
      await client.query(SET_ROLES, [namespace, principalId, roles]);
    },
    async setScopes({ namespace, principalId }, scopes) {
      await client.query(SET_SCOPES, [namespace, principalId, scopes]);
    },
    async recompute(namespace, { everyone, roles, principalIds }, rulesMax) {
      const values = [namespace, everyone, roles, principalIds, rulesMax];
      const { rows } = await client.query<{ readonly principalId: string }>(RECOMPUTE, values);
      return rows[0]?.principalId;
    },
    async announce(namespace) {
      await client.query(ANNOUNCE, [namespace]);
    },
  };
}
