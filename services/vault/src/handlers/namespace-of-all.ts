import type { CallContext } from "@nexus/rpc";
import { requirePrincipal } from "@nexus/rpc";
import { DEFAULT_NAMESPACE } from "@nexus/shared";
import { namespaceOfAll } from "../domain/errors.ts";

/** Lets only the namespace that administers the others do what concerns all of them: an administrator of one tenant
 * holds every scope. Errors: forbidden/NAMESPACE_FORBIDDEN. */
export function assertNamespaceOfAll(ctx: CallContext): void {
  if (requirePrincipal(ctx).namespace !== DEFAULT_NAMESPACE) throw namespaceOfAll();
}
