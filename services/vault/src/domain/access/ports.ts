import type { Namespace } from "@nexus/shared";
import type { Page, PageOf } from "../page.ts";
import type { AccessPolicy, PolicySpec, PolicySubjects, Role, RoleSpec } from "./policy.ts";

/** Reads roles and policies. */
export interface AccessReader {
  findRole(namespace: Namespace, name: string): Promise<Role | undefined>;
  listRoles(namespace: Namespace, page: PageOf): Promise<Page<Role>>;
  findPolicy(namespace: Namespace, name: string): Promise<AccessPolicy | undefined>;
  listPolicies(namespace: Namespace, page: PageOf): Promise<Page<AccessPolicy>>;
}

/** Follows the changes of policies in the order of their commits. */
export interface PolicyFeed {
  /** Namespaces whose policies changed after a revision, oldest first and a bounded number of them, with all the policies
   * they have now. */
  changedAfter(revision: bigint): Promise<readonly ChangedPolicies[]>;
}

/** The policies of a namespace at a revision. */
export interface ChangedPolicies {
  readonly namespace: Namespace;
  readonly revision: bigint;
  readonly policies: readonly AccessPolicy[];
}

/** Changes roles and policies, inside a transaction that holds the lock of the namespace. */
export interface AccessWriter {
  /** Waits for every other change of roles, policies and assignments in the namespace; `shared`: for those only that
   * took the lock whole. Take it first. */
  lock(namespace: Namespace, mode: "whole" | "shared"): Promise<void>;
  findRole(namespace: Namespace, name: string): Promise<Role | undefined>;
  /** Those of the names that exist. */
  findRoles(namespace: Namespace, names: readonly string[]): Promise<readonly Role[]>;
  putRole(namespace: Namespace, role: RoleSpec): Promise<Role>;
  /** Returns whether it was there. */
  deleteRole(namespace: Namespace, name: string): Promise<boolean>;
  isRoleInUse(namespace: Namespace, name: string): Promise<boolean>;
  allPolicies(namespace: Namespace): Promise<readonly AccessPolicy[]>;
  putPolicy(namespace: Namespace, policy: PolicySpec): Promise<AccessPolicy>;
  deletePolicy(namespace: Namespace, name: string): Promise<void>;
  /** How many roles the namespace has. */
  countRoles(namespace: Namespace): Promise<number>;
  /** Those of the ids that nobody has. */
  unknownPrincipals(namespace: Namespace, ids: readonly string[]): Promise<readonly string[]>;
  setRoles(
    key: { readonly namespace: Namespace; readonly principalId: string },
    roles: readonly string[],
  ): Promise<void>;
  setScopes(
    key: { readonly namespace: Namespace; readonly principalId: string },
    scopes: readonly string[],
  ): Promise<void>;
  /** Locks the subjects and works out anew what their tokens carry. Returns one of those whose token would be too large.*/
  recompute(
    namespace: Namespace,
    subjects: PolicySubjects,
    rulesMax: number,
  ): Promise<string | undefined>;
  /** Tells every replica that the policies changed; serialises all such changes until the commit. */
  announce(namespace: Namespace): Promise<void>;
}
