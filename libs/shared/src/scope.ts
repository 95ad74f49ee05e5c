import { NexusError } from "./nexus-error.ts";

/** Stands for everything when granted alone, and for one segment inside a scope. */
const ANY = "*";

const SCOPE_PATTERN = /^(?:\*|(?:[a-z0-9-]+|\*):(?:[a-z0-9-]+|\*):(?:[a-z0-9-]+|\*))$/;

function covers(granted: string, required: readonly string[]): boolean {
  if (granted === ANY) return true;
  const segments = granted.split(":");
  if (segments.length !== required.length) return false;
  return segments.every((segment, i) => segment === ANY || segment === required[i]);
}

/** Says whether one of the granted scopes covers the required one.
 *
 * Both are `domain:resource:verb`. `*` in a granted segment stands for any value of that segment, `*` alone for
 * everything. A `*` in the required scope is no wildcard: it is covered only by a granted `*`. */
export function matchesScope(granted: readonly string[], required: string): boolean {
  const segments = required.split(":");
  return granted.some((scope) => covers(scope, segments));
}

/** Checks the form of a scope that is to be granted. Errors: invalid/SCOPE_INVALID. */
export function parseScope(scope: string): string {
  if (SCOPE_PATTERN.test(scope)) return scope;
  const description = "must be domain:resource:verb, with * for any segment, or * alone";
  throw new NexusError({
    kind: "invalid",
    reason: "SCOPE_INVALID",
    message: `A scope ${description}.`,
    details: { fieldViolations: [{ field: "scope", description }] },
  });
}

/** What a token allows, apart from resources. */
export interface HeldScopes {
  readonly scopes: readonly string[];
  /** What is refused although a scope covers it. */
  readonly deniedScopes?: readonly string[];
}

/** Says whether the required scope is granted and not denied: a deny wins over every grant. */
export function holdsScope({ scopes, deniedScopes = [] }: HeldScopes, required: string): boolean {
  return matchesScope(scopes, required) && !matchesScope(deniedScopes, required);
}

/** Says whether some scope is covered by both patterns. */
export function overlapsScope(one: string, other: string): boolean {
  if (one === ANY || other === ANY) return true;
  const segments = other.split(":");
  return one
    .split(":")
    .every((segment, i) => segment === ANY || segments[i] === ANY || segment === segments[i]);
}
