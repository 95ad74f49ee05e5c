import type { Namespace, PolicyStatement } from "@nexus/shared";
import { parseResourcePattern, parseScope } from "@nexus/shared";
import { invalidField } from "../errors.ts";
import { SCOPE_LENGTH_MAX } from "../scope-sets.ts";

/** A named set of scopes. */
export interface Role {
  readonly namespace: Namespace;
  readonly name: string;
  readonly description: string;
  readonly scopes: readonly string[];
  readonly updatedAtMs: number;
}

/** Whom a policy is for. */
export interface PolicySubjects {
  readonly everyone: boolean;
  readonly roles: readonly string[];
  readonly principalIds: readonly string[];
}

/** Rules and whom they are for. */
export interface AccessPolicy extends PolicySubjects {
  readonly namespace: Namespace;
  readonly name: string;
  readonly description: string;
  readonly statements: readonly PolicyStatement[];
  readonly updatedAtMs: number;
}

/** A role or a policy as somebody wants it. */
export type RoleSpec = Omit<Role, "namespace" | "updatedAtMs">;
export type PolicySpec = Omit<AccessPolicy, "namespace" | "updatedAtMs">;

/** What the statements of a policy put into tokens. */
export interface TokenScopes {
  readonly allowed: readonly string[];
  /** Allowed on some resources: lets a token in where the resource is checked, and nowhere else. */
  readonly limited: readonly string[];
  readonly denied: readonly string[];
}

export const NO_TOKEN_SCOPES: TokenScopes = { allowed: [], limited: [], denied: [] };

/** Scopes whose methods check the resource. A rule about resources must not be written where nobody would ask it. */
const RESOURCE_SCOPES = /^vault:(?:(?:key|transit|secret):|secret-lease:revoke$)/;

/** Every resource, and so the same as to name none. */
const EVERY_RESOURCE = "*";

function unique(texts: readonly string[]): readonly string[] {
  return [...new Set(texts)].sort();
}

/** Brings the statements into their one form. Errors: invalid/SCOPE_INVALID, invalid/RESOURCE_INVALID,
 * invalid/REQUEST_INVALID for a rule about resources of methods that have none. */
export function parseStatements(statements: readonly PolicyStatement[]): PolicyStatement[] {
  return statements.map(({ effect, actions, resources }) => {
    for (const action of actions) parseAction(action);
    for (const resource of resources) parseResourcePattern(resource);
    const isLimited = resources.length > 0 && !resources.includes(EVERY_RESOURCE);
    if (isLimited && !actions.every((action) => RESOURCE_SCOPES.test(action))) {
      const scopes = "vault:key:*, vault:transit:*, vault:secret:* and vault:secret-lease:revoke";
      throw invalidField("statements", `may name resources for ${scopes} only`);
    }
    return { effect, actions: unique(actions), resources: isLimited ? unique(resources) : [] };
  });
}

function parseAction(action: string): void {
  parseScope(action);
  if (action.length > SCOPE_LENGTH_MAX) {
    throw invalidField("actions", `must have at most ${SCOPE_LENGTH_MAX} characters each`);
  }
}

/** What a token carries of the statements. */
export function tokenScopesOf(statements: readonly PolicyStatement[]): TokenScopes {
  const actionsOf = (effect: "allow" | "deny", isLimited: boolean) =>
    unique(
      statements
        .filter((one) => one.effect === effect && one.resources.length > 0 === isLimited)
        .flatMap((one) => one.actions),
    );
  return {
    allowed: actionsOf("allow", false),
    limited: actionsOf("allow", true),
    denied: actionsOf("deny", false),
  };
}

/** Every action that some statement allows or denies. */
export function actionsOf(
  statements: readonly PolicyStatement[],
  effect: "allow" | "deny",
): readonly string[] {
  return unique(statements.filter((one) => one.effect === effect).flatMap((one) => one.actions));
}

/** Says whether a policy is for somebody. */
export function isFor(
  { everyone, roles, principalIds }: PolicySubjects,
  subject: { readonly principalId: string; readonly roles?: readonly string[] },
): boolean {
  return (
    everyone ||
    principalIds.includes(subject.principalId) ||
    (subject.roles ?? []).some((role) => roles.includes(role))
  );
}

/** Says whether tokens made under `before` may do what `after` would not put into a new one. */
export function takesAway(before: TokenScopes, after: TokenScopes): boolean {
  const lacks = (some: readonly string[], all: readonly string[]) =>
    some.some((scope) => !all.includes(scope));
  return lacks(before.allowed, after.allowed) || lacks(after.denied, before.denied);
}
