import { type PrincipalService, SetPrincipalScopesRequestSchema } from "@nexus/proto/vault";
import type { MethodImplementation } from "@nexus/rpc";
import { requirePrincipal } from "@nexus/rpc";
import { toPrincipal } from "./convert.ts";
import type { VaultHandlerDeps } from "./deps.ts";
import { requestKey } from "./request-key.ts";

type SetPrincipalScopes = MethodImplementation<typeof PrincipalService.method.setPrincipalScopes>;

/** Serves PrincipalService.SetPrincipalScopes. */
export function createSetPrincipalScopes(deps: VaultHandlerDeps): SetPrincipalScopes {
  return async (request, ctx) => {
    const key = requestKey(ctx, SetPrincipalScopesRequestSchema, request, deps.digestBody);
    const caller = requirePrincipal(ctx);
    const { principalId, scopes } = request;
    const principal = await deps.accessDirectory.setScopes(caller, { principalId, scopes }, key);
    return { principal: toPrincipal(principal) };
  };
}
