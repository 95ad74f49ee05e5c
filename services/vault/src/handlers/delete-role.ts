import { type AccessService, DeleteRoleRequestSchema } from "@nexus/proto/vault";
import type { MethodImplementation } from "@nexus/rpc";
import { requirePrincipal } from "@nexus/rpc";
import type { VaultHandlerDeps } from "./deps.ts";
import { requestKey } from "./request-key.ts";

type DeleteRole = MethodImplementation<typeof AccessService.method.deleteRole>;

/** Serves AccessService.DeleteRole. */
export function createDeleteRole({ accessDirectory, digestBody }: VaultHandlerDeps): DeleteRole {
  return async (request, ctx) => {
    const key = requestKey(ctx, DeleteRoleRequestSchema, request, digestBody);
    return accessDirectory.deleteRole(requirePrincipal(ctx), request.name, key);
  };
}
