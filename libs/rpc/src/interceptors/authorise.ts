import { assertScope } from "../admission.ts";
import type { Interceptor } from "../server/interceptor.ts";
import { PUBLIC } from "../server/method-plan.ts";

/** Checks the scope that the method's descriptor requires against those the token holds. */
export const authorise: Interceptor = async ({ state, plan }, next) => {
  if (plan.scope !== PUBLIC) assertScope(state.principal, plan.scope);
  return next();
};
