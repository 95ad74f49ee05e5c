import { tokenMissing } from "./admission.ts";
import type { CallContext } from "./call-context.ts";
import type { Principal } from "./principal.ts";

/** Returns the caller. Only a method whose required_scope is `public` can fail here.
 *
 * Errors: unauthenticated/TOKEN_MISSING when the call carried no token. */
export function requirePrincipal(ctx: CallContext): Principal {
  if (ctx.principal !== undefined) return ctx.principal;
  throw tokenMissing();
}
