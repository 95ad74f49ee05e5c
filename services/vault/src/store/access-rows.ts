import type { Namespace, PolicyStatement } from "@nexus/shared";
import type { AccessPolicy, Role } from "../domain/access/policy.ts";

/** Columns of a role, in the names of Role. */
export const ROLE_COLUMNS = `r.namespace, r.name, r.description, r.scopes, r.updated_at AS "updatedAt"`;

/** Columns of a policy, in the names of AccessPolicy. */
export const POLICY_COLUMNS = `
  y.namespace, y.name, y.description, y.statements, y.everyone, y.roles,
  y.principal_ids AS "principalIds", y.updated_at AS "updatedAt"`;

/** A row of ROLE_COLUMNS as the driver returns it. */
export interface RoleRow extends Omit<Role, "updatedAtMs"> {
  readonly updatedAt: Date;
}

/** A row of POLICY_COLUMNS as the driver returns it. */
export interface PolicyRow extends Omit<AccessPolicy, "updatedAtMs"> {
  readonly namespace: Namespace;
  readonly statements: readonly PolicyStatement[];
  readonly updatedAt: Date;
}

/** Turns a row into the domain's type. */
export function toRole({ updatedAt, ...role }: RoleRow): Role {
  return { ...role, updatedAtMs: updatedAt.getTime() };
}

/** Turns a row into the domain's type. */
export function toPolicy({ updatedAt, ...policy }: PolicyRow): AccessPolicy {
  return { ...policy, updatedAtMs: updatedAt.getTime() };
}
