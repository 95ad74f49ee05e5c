import { holdsScope } from "@nexus/shared";
import type { AccessSubject, PolicyBook } from "../access/policy-book.ts";
import type { PrincipalKind } from "../principal.ts";
import type { Secret } from "./secret.ts";
import { secretForbidden, secretTaskRequired } from "./secret-errors.ts";
import type { SecretTask } from "./task-fence.ts";

/** What a caller may do at a path, besides what the method's own scope says. */
export type SecretVerb = "read" | "write" | "delete" | "destroy" | "revoke";

/** Who asks, as the verified token says. */
export interface SecretCaller extends AccessSubject {
  readonly kind: PrincipalKind;
}

/** What a policy calls it: the scope of the methods that do it. */
const ACTIONS: Readonly<Record<SecretVerb, string>> = {
  read: "vault:secret:read",
  write: "vault:secret:write",
  delete: "vault:secret:delete",
  destroy: "vault:secret:destroy",
  revoke: "vault:secret-lease:revoke",
};

/** Says whether a caller may do something at a path of its namespace. The one place where this is decided: single reads,
 * lists, leases and changes all ask here. */
export class SecretAccess {
  readonly #book: Pick<PolicyBook, "decideByPolicies">;

  constructor(book: Pick<PolicyBook, "decideByPolicies">) {
    this.#book = book;
  }

  /** By a scope of the folder or by a policy for the path, and by neither when a policy denies the path. */
  may(caller: SecretCaller, verb: SecretVerb, path: string): boolean {
    const request = { action: ACTIONS[verb], resource: path };
    const { allowed, reason } = this.#book.decideByPolicies(caller, request);
    if (reason === "denied" || reason === "malformed") return false;
    return allowed || holdsScope(caller, scopeFor(verb, path));
  }

  /** Errors: forbidden/SECRET_FORBIDDEN, before anything is looked up: the answer does not say whether the path exists. */
  assertMay(caller: SecretCaller, verb: SecretVerb, path: string): void {
    if (!this.may(caller, verb, path)) throw secretForbidden(scopeFor(verb, path));
  }
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
