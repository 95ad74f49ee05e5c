import { type AccessService, PutRoleRequestSchema } from "@nexus/proto/vault";
import type { MethodImplementation } from "@nexus/rpc";
import { requirePrincipal } from "@nexus/rpc";
import { toRole } from "./convert-access.ts";
import type { VaultHandlerDeps } from "./deps.ts";
import { requestKey } from "./request-key.ts";

type PutRole = MethodImplementation<typeof AccessService.method.putRole>;

/** Serves AccessService.PutRole. */
export function createPutRole({ accessDirectory, digestBody }: VaultHandlerDeps): PutRole {
  return async (request, ctx) => {
    const key = requestKey(ctx, PutRoleRequestSchema, request, digestBody);
    const { name, description, scopes } = request;
    const spec = { name, description, scopes };
    const role = await accessDirectory.putRole(requirePrincipal(ctx), spec, key);
    return { role: toRole(role) };
  };
}
