import type { Namespace } from "@nexus/shared";
import { DEFAULT_NAMESPACE, holdsScope, SYSTEM_NAMESPACE } from "@nexus/shared";
import { namespaceForbidden } from "./errors.ts";
import type { Caller } from "./principal.ts";

/** Lets a principal of the namespace `default` act in others. */
const NAMESPACE_ADMIN_SCOPE = "vault:namespace:admin";

/** A principal acts inside its own namespace. Only the namespace `default` administers others: a tenant whose
 * administrator holds every scope must not reach another tenant by it. The services' own is nobody's to change.
 *
 * Errors: forbidden/NAMESPACE_FORBIDDEN. */
export function assertMayActIn(caller: Caller, namespace: Namespace): void {
  const mayActInOthers =
    caller.namespace === DEFAULT_NAMESPACE && holdsScope(caller, NAMESPACE_ADMIN_SCOPE);
  const allowed = namespace === caller.namespace || mayActInOthers;
  if (!allowed || namespace === SYSTEM_NAMESPACE) throw namespaceForbidden();
}
