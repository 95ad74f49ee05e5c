import { matchesScope, NexusError } from "@nexus/shared";
import type { Principal } from "../principal.ts";
import type { Interceptor } from "../server/interceptor.ts";
import { AUTHENTICATED, PUBLIC } from "../server/method-plan.ts";

/** Checks the scope that the method's descriptor requires against those the token holds. */
export const authorise: Interceptor = async ({ state, plan }, next) => {
  if (plan.scope !== PUBLIC) assertScope(state.principal, plan.scope);
  return next();
};

/** Errors: forbidden/SCOPE_MISSING, with the needed scope in the metadata. */
export function assertScope(principal: Principal | undefined, scope: string): void {
  if (
    principal !== undefined &&
    (scope === AUTHENTICATED || matchesScope(principal.scopes, scope))
  ) {
    return;
  }
  throw new NexusError({
    kind: "forbidden",
    reason: "SCOPE_MISSING",
    message: `The token lacks the scope ${scope}.`,
    details: { metadata: { required_scope: scope } },
  });
}
