import type { AccessDecision, AccessRequest, Namespace } from "@nexus/shared";
import { matchesScope } from "@nexus/shared";
import {
  accessTooLarge,
  policyNotFound,
  principalIsCaller,
  principalNotFound,
  roleInUse,
  roleNotFound,
  tooManyRules,
} from "../errors.ts";
import type { Page, PageOf } from "../page.ts";
import type { AuthEvents, Mutations, PrincipalReader, RequestKey, Transaction } from "../ports.ts";
import type { Caller, PrincipalRecord } from "../principal.ts";
import { withoutCredentials } from "../principal.ts";
import type { NewRevocation, RevocationRecord } from "../revocation.ts";
import type { RevocationLog } from "../revocation-log.ts";
import { assertHolds, effectiveScopes, grantableScopes, TOKEN_RULES_MAX } from "../scope-sets.ts";
import type { AccessPolicy, PolicySpec, PolicySubjects, Role, RoleSpec } from "./policy.ts";
import {
  actionsOf,
  isFor,
  NO_TOKEN_SCOPES,
  parseStatements,
  takesAway,
  tokenScopesOf,
} from "./policy.ts";
import type { PolicyBook } from "./policy-book.ts";
import type { AccessReader } from "./ports.ts";

/** What an AccessDirectory needs. */
export interface AccessDirectoryOptions {
  readonly access: AccessReader;
  readonly principals: PrincipalReader;
  readonly mutations: Mutations;
  readonly book: PolicyBook;
  readonly revocations: RevocationLog;
  readonly events: AuthEvents;
}

/** Roles and policies of a namespace; each policy is in the memory of every replica. */
export const ROLES_MAX = 256;
export const POLICIES_MAX = 256;

/** What writes policies: nobody takes it from itself. */
const POLICY_SCOPE = "vault:policy:write";

/** Who may do what, in the caller's namespace. Who changes it holds all that the change gives or takes: what is allowed before and
 * after it, and what is denied after it. Else a lesser one could make a mightier one small, take it over, and wait until it is given
 * back what it had. Lifting a denial is free to whoever may write policies. Every change is in force within a second where it takes something away: in
 * the tokens that run, by revoking them, and in vault's own rules about resources, by the policy book. */
export class AccessDirectory {
  readonly #options: AccessDirectoryOptions;

  constructor(options: AccessDirectoryOptions) {
    this.#options = options;
  }

  /** Creates a role or replaces it whole. Errors: forbidden/SCOPE_ESCALATION; invalid/SCOPE_INVALID;
   * exhausted/ACCESS_LIMIT; precondition/ACCESS_TOO_LARGE; conflict/REQUEST_ID_REUSED. */
  putRole(caller: Caller, spec: RoleSpec, request: RequestKey): Promise<Role> {
    const { namespace } = caller;
    const scopes = this.#grantable(caller, spec.scopes);
    return this.#change(request, namespace, async (tx) => {
      const before = await tx.access.findRole(namespace, spec.name);
      if (before === undefined && (await tx.access.countRoles(namespace)) >= ROLES_MAX) {
        throw tooManyRules("roles", ROLES_MAX);
      }
      const lost = (before?.scopes ?? []).filter((scope) => !scopes.includes(scope));
      this.#grantable(caller, lost);
      const role = await tx.access.putRole(namespace, { ...spec, scopes });
      await recompute(tx, namespace, { ...NOBODY, roles: [role.name] });
      return { value: role, revoked: lost.length > 0 ? [ofRole(role)] : [] };
    });
  }

  /** Removes a role that nobody has. Doing it twice changes nothing more.
   * Errors: precondition/ROLE_IN_USE; conflict/REQUEST_ID_REUSED. */
  deleteRole(caller: Caller, name: string, request: RequestKey): Promise<Removal> {
    const { namespace } = caller;
    return this.#change(request, namespace, async (tx) => {
      if (await tx.access.isRoleInUse(namespace, name)) throw roleInUse();
      const wasAbsent = !(await tx.access.deleteRole(namespace, name));
      return { value: { wasAbsent }, revoked: [] };
    });
  }

  /** Errors: not_found/ROLE_NOT_FOUND. */
  async getRole(namespace: Namespace, name: string): Promise<Role> {
    const role = await this.#options.access.findRole(namespace, name);
    if (role === undefined) throw roleNotFound(name);
    return role;
  }

  /** By name. Errors: invalid/PAGE_TOKEN_INVALID. */
  listRoles(namespace: Namespace, page: PageOf): Promise<Page<Role>> {
    return this.#options.access.listRoles(namespace, page);
  }

  /** Sets the roles of a principal. Its tokens are taken back if that changes anything: they name the roles.
   * Errors: not_found/PRINCIPAL_NOT_FOUND, not_found/ROLE_NOT_FOUND; precondition/PRINCIPAL_IS_CALLER,
   * precondition/ACCESS_TOO_LARGE; forbidden/SCOPE_ESCALATION; conflict/REQUEST_ID_REUSED. */
  setRoles(
    caller: Caller,
    { principalId, roles }: { readonly principalId: string; readonly roles: readonly string[] },
    request: RequestKey,
  ): Promise<PrincipalRecord> {
    if (principalId === caller.principalId) throw principalIsCaller();
    const key = { namespace: caller.namespace, principalId };
    return this.#change(request, caller.namespace, async (tx) => {
      const before = await tx.principals.lock(key);
      if (before === undefined) throw principalNotFound();
      const changed = differenceOf(before.roles, roles);
      const attached = await this.assertMayAssign(tx, {
        caller,
        namespace: caller.namespace,
        changed,
      });
      // A role that goes takes its denials along, and one that comes brings them.
      const deniedBy = (some: readonly string[]) =>
        attached
          .filter((policy) =>
            policy.roles.some((role) => changed.includes(role) && some.includes(role)),
          )
          .flatMap(({ statements }) => actionsOf(statements, "deny"));
      this.#grantable(caller, deniedBy(before.roles));
      assertHolds(caller, deniedBy(roles));
      await tx.access.setRoles(key, [...new Set(roles)].sort());
      const value = await recomputeOne(tx, key);
      const isSame = value.roles.join(" ") === before.roles.join(" ");
      const { namespace } = caller;
      const revoked = isSame ? [] : [{ target: "principal", namespace, id: principalId } as const];
      return { value, revoked };
    });
  }

  /** Sets the scopes that a principal holds by itself. Its tokens are taken back if that takes one away.
   * Errors: not_found/PRINCIPAL_NOT_FOUND; precondition/PRINCIPAL_IS_CALLER, precondition/ACCESS_TOO_LARGE;
   * forbidden/SCOPE_ESCALATION; invalid/SCOPE_INVALID; conflict/REQUEST_ID_REUSED. */
  setScopes(
    caller: Caller,
    { principalId, scopes }: { readonly principalId: string; readonly scopes: readonly string[] },
    request: RequestKey,
  ): Promise<PrincipalRecord> {
    if (principalId === caller.principalId) throw principalIsCaller();
    const { namespace } = caller;
    const key = { namespace, principalId };
    return this.#change(request, namespace, async (tx) => {
      const before = await tx.principals.lock(key);
      if (before === undefined) throw principalNotFound();
      this.#grantable(caller, differenceOf(before.scopes, scopes));
      await tx.access.setScopes(key, [...new Set(scopes)]);
      const value = await recomputeOne(tx, key);
      const lost = before.scopes.some((scope) => !scopes.includes(scope));
      const revoked = lost ? [{ target: "principal", namespace, id: principalId } as const] : [];
      return { value, revoked };
    });
  }

  /** Creates a policy or replaces it whole. Nobody allows or denies what it does not hold itself, replaces what allows more, or
   * takes the right to write policies from itself. Errors: not_found/ROLE_NOT_FOUND, not_found/PRINCIPAL_NOT_FOUND; forbidden/SCOPE_ESCALATION;
   * precondition/PRINCIPAL_IS_CALLER, precondition/ACCESS_TOO_LARGE; exhausted/ACCESS_LIMIT; those of parseStatements;
   * conflict/REQUEST_ID_REUSED. */
  putPolicy(caller: Caller, spec: PolicySpec, request: RequestKey): Promise<AccessPolicy> {
    const { namespace } = caller;
    const statements = parseStatements(spec.statements);
    this.#grantable(caller, actionsOf(statements, "allow"));
    assertHolds(caller, actionsOf(statements, "deny"));
    if (isFor(spec, caller) && matchesScope(tokenScopesOf(statements).denied, POLICY_SCOPE)) {
      throw principalIsCaller();
    }
    return this.#change(request, namespace, async (tx) => {
      await assertSubjectsExist(tx, namespace, spec);
      const all = await tx.access.allPolicies(namespace);
      const before = all.find(({ name }) => name === spec.name);
      if (before === undefined && all.length >= POLICIES_MAX) {
        throw tooManyRules("policies", POLICIES_MAX);
      }
      assertHolds(caller, actionsOf(before?.statements ?? [], "allow"));
      const policy = await tx.access.putPolicy(namespace, { ...spec, statements });
      const revoked = await applied(tx, namespace, { before, after: policy });
      return { value: policy, revoked, ofPolicies: true };
    });
  }

  /** Removes a policy. Doing it twice changes nothing more. Errors: forbidden/SCOPE_ESCALATION when it allows more than the
   * caller holds; conflict/REQUEST_ID_REUSED. */
  deletePolicy(caller: Caller, name: string, request: RequestKey): Promise<Removal> {
    const { namespace } = caller;
    return this.#change(request, namespace, async (tx) => {
      const all = await tx.access.allPolicies(namespace);
      const before = all.find((policy) => policy.name === name);
      assertHolds(caller, actionsOf(before?.statements ?? [], "allow"));
      await tx.access.deletePolicy(namespace, name);
      const value = { wasAbsent: before === undefined };
      return { value, revoked: await applied(tx, namespace, { before }), ofPolicies: true };
    });
  }

  /** Errors: not_found/POLICY_NOT_FOUND. */
  async getPolicy(namespace: Namespace, name: string): Promise<AccessPolicy> {
    const policy = await this.#options.access.findPolicy(namespace, name);
    if (policy === undefined) throw policyNotFound(name);
    return policy;
  }

  /** By name. Errors: invalid/PAGE_TOKEN_INVALID. */
  listPolicies(namespace: Namespace, page: PageOf): Promise<Page<AccessPolicy>> {
    return this.#options.access.listPolicies(namespace, page);
  }

  /** Says what a principal with a new token may do, and by which policy. Errors: not_found/PRINCIPAL_NOT_FOUND. */
  async check(
    namespace: Namespace,
    principalId: string,
    request: AccessRequest,
  ): Promise<AccessDecision> {
    const { principals, book } = this.#options;
    const found = await principals.find({ namespace, principalId });
    if (found === undefined) throw principalNotFound();
    await book.refresh();
    const { roles, deniedScopes } = found;
    const subject = { namespace, principalId, roles, deniedScopes, scopes: effectiveScopes(found) };
    return book.decide(subject, request);
  }

  /** Nobody makes another principal more than itself, by a role's scopes or by the policies that are for the role, or who
   * is more than itself less: it could act as what is left, and wait until that is given back. Returns the policies for the roles.
   * Errors: not_found/ROLE_NOT_FOUND; forbidden/SCOPE_ESCALATION. */
  async assertMayAssign(tx: Transaction, assignment: Assignment): Promise<readonly AccessPolicy[]> {
    const { caller, namespace, changed } = assignment;
    const roles = await tx.access.findRoles(namespace, changed);
    const missing = changed.find((name) => !roles.some((role) => role.name === name));
    if (missing !== undefined) throw roleNotFound(missing);
    const policies = changed.length === 0 ? [] : await tx.access.allPolicies(namespace);
    const attached = policies.filter((policy) => policy.roles.some((one) => changed.includes(one)));
    this.#grantable(caller, [
      ...roles.flatMap((role) => role.scopes),
      ...attached.flatMap(({ statements }) => actionsOf(statements, "allow")),
    ]);
    return attached;
  }

  #grantable(caller: Caller, scopes: readonly string[]): readonly string[] {
    return grantableScopes(caller, scopes, this.#options.book.deniedActions(caller));
  }

  /** Runs a change once, alone in its namespace, and brings this replica up to date before it answers. */
  async #change<T>(
    request: RequestKey,
    namespace: Namespace,
    work: (tx: Transaction) => Promise<Changed<T>>,
  ): Promise<T> {
    const { mutations, events, book, revocations } = this.#options;
    let added: RevocationRecord[] = [];
    const { value } = await mutations.run(request, async (tx) => {
      await tx.access.lock(namespace, "whole");
      const done = await work(tx);
      if (done.ofPolicies === true) await tx.access.announce(namespace);
      added = [];
      for (const revocation of done.revoked) added.push(await tx.revocations.add(revocation));
      return done.value;
    });
    for (const record of added) events.revoked(record);
    // The others poll; a failed read is the poll's to mend.
    await Promise.allSettled([book.refresh(), revocations.refresh()]);
    return value;
  }
}

/** Roles about to be given to somebody, or taken away. */
interface Assignment {
  readonly caller: Caller;
  readonly namespace: Namespace;
  readonly changed: readonly string[];
}

/** What became of something that was to be removed. */
interface Removal {
  readonly wasAbsent: boolean;
}

/** What a change did: its answer, the tokens it takes back, and whether replicas have to read policies anew. */
interface Changed<T> {
  readonly value: T;
  readonly revoked: readonly NewRevocation[];
  readonly ofPolicies?: boolean;
}

const NOBODY: PolicySubjects = { everyone: false, roles: [], principalIds: [] };

/** What only one of two lists has. */
function differenceOf(before: readonly string[], after: readonly string[]): readonly string[] {
  const lost = before.filter((one) => !after.includes(one));
  return [...lost, ...after.filter((one) => !before.includes(one))];
}

function ofRole({ namespace, name }: Role): NewRevocation {
  return { target: "role", namespace, id: name };
}

/** Errors: precondition/ACCESS_TOO_LARGE. */
async function recompute(
  tx: Transaction,
  namespace: Namespace,
  subjects: PolicySubjects,
): Promise<void> {
  const tooLarge = await tx.access.recompute(namespace, subjects, TOKEN_RULES_MAX);
  if (tooLarge !== undefined) throw accessTooLarge(tooLarge, TOKEN_RULES_MAX);
}

/** Works out what roles and policies make of one principal, and reads it. Errors: precondition/ACCESS_TOO_LARGE. */
export async function recomputeOne(
  tx: Transaction,
  key: { readonly namespace: Namespace; readonly principalId: string },
): Promise<PrincipalRecord> {
  await recompute(tx, key.namespace, { ...NOBODY, principalIds: [key.principalId] });
  const after = await tx.principals.lock(key);
  if (after === undefined) throw principalNotFound();
  return withoutCredentials(after);
}

async function assertSubjectsExist(
  tx: Transaction,
  namespace: Namespace,
  { roles, principalIds }: PolicySubjects,
): Promise<void> {
  const known = await tx.access.findRoles(namespace, roles);
  const missing = roles.find((name) => !known.some((role) => role.name === name));
  if (missing !== undefined) throw roleNotFound(missing);
  const unknown = await tx.access.unknownPrincipals(namespace, principalIds);
  if (unknown.length > 0) throw principalNotFound();
}

/** Brings everybody up to date whom the policy was or is for, and says whose running tokens hold too much now. */
async function applied(
  tx: Transaction,
  namespace: Namespace,
  { before, after }: { readonly before: AccessPolicy | undefined; readonly after?: AccessPolicy },
): Promise<readonly NewRevocation[]> {
  const [was, is] = [before ?? NOBODY, after ?? NOBODY];
  const subjects = {
    everyone: was.everyone || is.everyone,
    roles: [...new Set([...was.roles, ...is.roles])],
    principalIds: [...new Set([...was.principalIds, ...is.principalIds])],
  };
  await recompute(tx, namespace, subjects);
  const scopesOf = (policy: AccessPolicy | undefined, covers: boolean) =>
    policy !== undefined && covers ? tokenScopesOf(policy.statements) : NO_TOKEN_SCOPES;
  const loses = (pick: (one: PolicySubjects) => boolean) =>
    takesAway(scopesOf(before, pick(was)), scopesOf(after, pick(is)));
  if (subjects.everyone && loses((one) => one.everyone)) {
    return [{ target: "namespace", namespace, id: namespace }];
  }
  return [
    ...subjects.roles
      .filter((role) => loses((one) => one.everyone || one.roles.includes(role)))
      .map((id) => ({ target: "role", namespace, id }) as const),
    ...subjects.principalIds
      .filter((id) => loses((one) => one.everyone || one.principalIds.includes(id)))
      .map((id) => ({ target: "principal", namespace, id }) as const),
  ];
}
