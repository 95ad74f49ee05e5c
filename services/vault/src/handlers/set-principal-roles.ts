import { type AccessService, SetPrincipalRolesRequestSchema } from "@nexus/proto/vault";
import type { MethodImplementation } from "@nexus/rpc";
import { requirePrincipal } from "@nexus/rpc";
import { toPrincipal } from "./convert.ts";
import type { VaultHandlerDeps } from "./deps.ts";
import { requestKey } from "./request-key.ts";

type SetPrincipalRoles = MethodImplementation<typeof AccessService.method.setPrincipalRoles>;

/** Serves AccessService.SetPrincipalRoles. */
export function createSetPrincipalRoles({
  accessDirectory,
  digestBody,
}: VaultHandlerDeps): SetPrincipalRoles {
  return async (request, ctx) => {
    const key = requestKey(ctx, SetPrincipalRolesRequestSchema, request, digestBody);
    const { principalId, roles } = request;
    const spec = { principalId, roles };
    const principal = await accessDirectory.setRoles(requirePrincipal(ctx), spec, key);
    return { principal: toPrincipal(principal) };
  };
}
