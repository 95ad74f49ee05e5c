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
