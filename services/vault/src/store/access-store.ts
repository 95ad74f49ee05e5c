import type { Pool } from "@nexus/postgres";
import { decodePageToken, encodePageToken } from "@nexus/postgres";
import type { Namespace } from "@nexus/shared";
import type { AccessReader, ChangedPolicies, PolicyFeed } from "../domain/access/ports.ts";
import type { Page, PageOf } from "../domain/page.ts";
import type { PolicyRow, RoleRow } from "./access-rows.ts";
import { POLICY_COLUMNS, ROLE_COLUMNS, toPolicy, toRole } from "./access-rows.ts";

/** Changed namespaces read at once; more follow with the next reading. */
const CHANGES_MAX = 100;

const FIND_ROLE = `SELECT ${ROLE_COLUMNS} FROM roles r WHERE r.namespace = $1 AND r.name = $2`;
const LIST_ROLES = `
  SELECT ${ROLE_COLUMNS} FROM roles r WHERE r.namespace = $1 AND r.name > $2
  ORDER BY r.name LIMIT $3`;
const FIND_POLICY = `SELECT ${POLICY_COLUMNS} FROM policies y WHERE y.namespace = $1 AND y.name = $2`;
const LIST_POLICIES = `
  SELECT ${POLICY_COLUMNS} FROM policies y WHERE y.namespace = $1 AND y.name > $2
  ORDER BY y.name LIMIT $3`;

// One statement, so one snapshot: the policies are those of the revision, or newer ones that a later reading tells again.
const CHANGED = `
  WITH changed AS (
    SELECT c.namespace, c.revision FROM access_changes c WHERE c.revision > $1
    ORDER BY c.revision LIMIT ${CHANGES_MAX}
  )
  SELECT c.namespace AS "changedNamespace", c.revision, ${POLICY_COLUMNS}
  FROM changed c LEFT JOIN policies y USING (namespace)
  ORDER BY c.revision`;

type ChangedRow = { readonly changedNamespace: Namespace; readonly revision: string } & (
  | PolicyRow
  | { readonly name: null }
);

interface Named {
  readonly name: string;
}

function toPage<T extends Named>(kind: string, items: readonly T[], size: number): Page<T> {
  const shown = items.slice(0, size);
  const last = items.length > size ? shown.at(-1) : undefined;
  return {
    items: shown,
    nextPageToken: last === undefined ? "" : encodePageToken(kind, [last.name]),
  };
}

/** Creates the reader of roles and policies, and the feed of their changes. */
export function createAccessReader(pool: Pool): AccessReader & PolicyFeed {
  const page = (kind: string, namespace: Namespace, { token, size }: PageOf) => {
    const [after = ""] = decodePageToken(kind, token, ["text"]) ?? [];
    return [namespace, after, size + 1];
  };
  return {
    async findRole(namespace, name) {
      const { rows } = await pool.query<RoleRow>(FIND_ROLE, [namespace, name]);
      return rows[0] === undefined ? undefined : toRole(rows[0]);
    },
    async listRoles(namespace, wanted) {
      const values = page("roles", namespace, wanted);
      const { rows } = await pool.query<RoleRow>(LIST_ROLES, values);
      return toPage("roles", rows.map(toRole), wanted.size);
    },
    async findPolicy(namespace, name) {
      const { rows } = await pool.query<PolicyRow>(FIND_POLICY, [namespace, name]);
      return rows[0] === undefined ? undefined : toPolicy(rows[0]);
    },
    async listPolicies(namespace, wanted) {
      const values = page("policies", namespace, wanted);
      const { rows } = await pool.query<PolicyRow>(LIST_POLICIES, values);
      return toPage("policies", rows.map(toPolicy), wanted.size);
    },
    async changedAfter(revision) {
      const statement = { name: "access-changed", text: CHANGED, values: [revision.toString()] };
      return groupByNamespace((await pool.query<ChangedRow>(statement)).rows);
    },
  };
}

function groupByNamespace(rows: readonly ChangedRow[]): readonly ChangedPolicies[] {
  const groups = new Map<Namespace, ChangedPolicies>();
  for (const { changedNamespace: namespace, revision, ...row } of rows) {
    const known = groups.get(namespace)?.policies ?? [];
    const policies = row.name === null ? known : [...known, toPolicy(row)];
    groups.set(namespace, { namespace, revision: BigInt(revision), policies });
  }
  return [...groups.values()];
}
