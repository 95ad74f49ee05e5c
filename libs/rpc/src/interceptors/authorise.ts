import { assertScope, assertService } from "../admission.ts";
import type { PlannedLayer } from "../server/interceptor.ts";
import { PUBLIC } from "../server/method-plan.ts";

/** Checks the scope that the method's descriptor requires against those the token holds, and lets nobody but services
 * call an internal contract: an administrator of one tenant holds every scope, and these speak for all tenants. */
export const authorise: PlannedLayer = async ({ state, plan }, next) => {
  if (plan.scope !== PUBLIC) assertScope(state.principal, plan);
  if (plan.internal) assertService(state.principal);
  return next();
};
