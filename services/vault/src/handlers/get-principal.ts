import type { PrincipalService } from "@nexus/proto/vault";
import type { MethodImplementation } from "@nexus/rpc";
import { requirePrincipal } from "@nexus/rpc";
import { toPrincipal } from "./convert.ts";
import type { VaultHandlerDeps } from "./deps.ts";

type GetPrincipal = MethodImplementation<typeof PrincipalService.method.getPrincipal>;

/** Serves PrincipalService.GetPrincipal. */
export function createGetPrincipal({ directory }: VaultHandlerDeps): GetPrincipal {
  return async ({ principalId }, ctx) => {
    const { namespace } = requirePrincipal(ctx);
    return { principal: toPrincipal(await directory.get({ namespace, principalId })) };
  };
}
