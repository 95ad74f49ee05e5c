import type { SecretService } from "@nexus/proto/vault";
import type { MethodImplementation } from "@nexus/rpc";
import { requirePrincipal } from "@nexus/rpc";
import type { VaultHandlerDeps } from "./deps.ts";

type RevokeSecretLeases = MethodImplementation<typeof SecretService.method.revokeSecretLeases>;

/** Serves SecretService.RevokeSecretLeases. */
export function createRevokeSecretLeases({ secretLeases }: VaultHandlerDeps): RevokeSecretLeases {
  return async (request, ctx) => {
    const caller = requirePrincipal(ctx);
    return { revoked: BigInt(await secretLeases.revoke(caller, request.prefix, ctx.signal)) };
  };
}
