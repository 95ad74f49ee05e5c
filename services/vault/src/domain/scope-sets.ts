import { matchesScope, overlapsScope, parseScope } from "@nexus/shared";
import { invalidField, scopeEscalation } from "./errors.ts";
import type { Caller, PrincipalRecord } from "./principal.ts";

/** Everything. */
export const ADMIN_SCOPES: readonly string[] = ["*"];

/** What a new principal gets when its creator names no scopes. */
export const DEFAULT_SCOPES: Readonly<Record<"user" | "agent", readonly string[]>> = {
  user: [
    "orchestrator:job:submit",
    "orchestrator:job:read",
    "orchestrator:job:cancel",
    "orchestrator:job:control",
    "orchestrator:payload:*",
    "registry:agent:read",
    "insight:performance:read",
    "mesh:message:send",
    "mesh:state:read",
    "mesh:state:write",
    "gateway:status:read",
  ],
  // The registry lets an agent register its own id only.
  agent: [
    "registry:agent:register",
    "registry:agent:read",
    "mesh:session:connect",
    "mesh:message:send",
    "mesh:state:read",
    "mesh:state:write",
    "orchestrator:payload:*",
  ],
};

/** What every service does with vault. */
const EVERY_SERVICE = ["vault:revocation:watch", "vault:audit:append", "vault:certificate:issue"];

/** What each NEXUS service may do when it acts for itself; vault signs its own tokens (own-tokens.ts). */
export const SERVICE_SCOPES: Readonly<Record<string, readonly string[]>> = {
  registry: [...EVERY_SERVICE],
  orchestrator: [
    ...EVERY_SERVICE,
    "registry:agent:read",
    "registry:outcome:report",
    "mesh:dispatch:connect",
    "insight:sample:record",
  ],
  "mesh-router": [
    ...EVERY_SERVICE,
    "registry:agent:read",
    "registry:presence:report",
    "orchestrator:lease:check",
  ],
  // It witnesses the audit log.
  insight: [...EVERY_SERVICE, "vault:audit:read"],
  gateway: [...EVERY_SERVICE, "gateway:status:read"],
};

/** Longest scope in characters. With 64 scopes a token stays below the 8 KiB that many stacks allow a header. */
export const SCOPE_LENGTH_MAX = 64;

/** Most scopes in one token: granted, limited and denied ones together. */
export const TOKEN_RULES_MAX = 64;

/** What a principal's token grants: its own scopes and those of its roles and policies. */
export function effectiveScopes({ scopes, grantedScopes }: PrincipalRecord): readonly string[] {
  return grantedScopes.length === 0 ? scopes : [...new Set([...scopes, ...grantedScopes])];
}

/** All that somebody holds who acts as the principal, be it on some resources only. */
export function everyScope(principal: PrincipalRecord): readonly string[] {
  return [...effectiveScopes(principal), ...principal.limitedScopes];
}

/** Checks that the caller's own token covers what it takes away. What the caller is denied counts as held: a denial must not keep
 * from its lifting.
 *
 * Errors: forbidden/SCOPE_ESCALATION. */
export function assertHolds(caller: Caller, taken: readonly string[]): void {
  const beyond = taken.find((scope) => !matchesScope(caller.scopes, scope));
  if (beyond !== undefined) throw scopeEscalation(beyond);
}

/** Checks the scopes that a caller wants to grant and removes doubles. What the caller is denied, be it on some
 * resources only, it cannot grant either, or it would act by another's hand.
 *
 * Errors: invalid/SCOPE_INVALID, invalid/REQUEST_INVALID when one is too long, forbidden/SCOPE_ESCALATION when the
 * caller's own token does not cover one, or a denial touches it. */
export function grantableScopes(
  caller: Caller,
  wanted: readonly string[],
  denied: readonly string[],
): readonly string[] {
  for (const scope of wanted) {
    parseScope(scope);
    if (scope.length > SCOPE_LENGTH_MAX) {
      throw invalidField("scopes", `must have at most ${SCOPE_LENGTH_MAX} characters each`);
    }
    const touched = denied.some((denial) => overlapsScope(denial, scope));
    if (touched || !matchesScope(caller.scopes, scope)) throw scopeEscalation(scope);
  }
  return [...new Set(wanted)];
}
