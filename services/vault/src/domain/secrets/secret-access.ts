import { matchesScope, type Namespace } from "@nexus/shared";
import type { PrincipalKind } from "../principal.ts";
import type { Secret } from "./secret.ts";
import { secretForbidden, secretTaskRequired } from "./secret-errors.ts";
import type { SecretTask } from "./task-fence.ts";

/** What a caller may do at a path, besides what the method's own scope says. */
export type SecretVerb = "read" | "write" | "delete" | "destroy" | "revoke";

/** Who asks, as the verified token says. */
export interface SecretCaller {
  readonly namespace: Namespace;
  readonly principalId: string;
  readonly kind: PrincipalKind;
  readonly scopes: readonly string[];
}

/** Says whether a caller may do something at a path of its namespace. The one place where this is decided: single reads,
 * lists, leases and changes all ask here. */
export function maySecret(caller: SecretCaller, verb: SecretVerb, path: string): boolean {
  return matchesScope(caller.scopes, scopeFor(verb, path));
}

/** Errors: forbidden/SECRET_FORBIDDEN, before anything is looked up: the answer does not say whether the path exists. */
export function assertMaySecret(caller: SecretCaller, verb: SecretVerb, path: string): void {
  if (!maySecret(caller, verb, path)) throw secretForbidden(scopeFor(verb, path));
}

/** Refuses an agent that reads for no task what is there for tasks only. Errors: forbidden/SECRET_TASK_REQUIRED. */
export function assertTaskGiven(
  { kind }: SecretCaller,
  { taskRequired }: Secret,
  task: SecretTask | undefined,
): void {
  if (taskRequired && kind === "agent" && task === undefined) throw secretTaskRequired();
}

/** Of the first segment, which the contract lets be nothing but a word of a scope. */
function scopeFor(verb: SecretVerb, path: string): string {
  return `secret:${path.split("/", 1)[0] ?? ""}:${verb}`;
}
