import type { AccessService } from "@nexus/proto/vault";
import type { MethodImplementation } from "@nexus/rpc";
import { requirePrincipal } from "@nexus/rpc";
import { toRole } from "./convert-access.ts";
import type { VaultHandlerDeps } from "./deps.ts";

type GetRole = MethodImplementation<typeof AccessService.method.getRole>;

/** Serves AccessService.GetRole. */
export function createGetRole({ accessDirectory }: VaultHandlerDeps): GetRole {
  return async ({ name }, ctx) => {
    const { namespace } = requirePrincipal(ctx);
    return { role: toRole(await accessDirectory.getRole(namespace, name)) };
  };
}
