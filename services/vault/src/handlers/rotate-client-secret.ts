import { type PrincipalService, RotateClientSecretRequestSchema } from "@nexus/proto/vault";
import type { MethodImplementation } from "@nexus/rpc";
import { requirePrincipal } from "@nexus/rpc";
import type { VaultHandlerDeps } from "./deps.ts";
import { requestKey } from "./request-key.ts";

type RotateClientSecret = MethodImplementation<typeof PrincipalService.method.rotateClientSecret>;

/** Serves PrincipalService.RotateClientSecret. */
export function createRotateClientSecret(deps: VaultHandlerDeps): RotateClientSecret {
  return async (request, ctx) => {
    const key = requestKey(ctx, RotateClientSecretRequestSchema, request, deps.digestBody);
    const caller = requirePrincipal(ctx);
    return { clientSecret: await deps.directory.rotateSecret(caller, request.principalId, key) };
  };
}
