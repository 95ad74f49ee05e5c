import { DestroySecretRequestSchema, type SecretService } from "@nexus/proto/vault";
import type { MethodImplementation } from "@nexus/rpc";
import { requirePrincipal } from "@nexus/rpc";
import type { VaultHandlerDeps } from "./deps.ts";
import { requestKey } from "./request-key.ts";

type DestroySecret = MethodImplementation<typeof SecretService.method.destroySecret>;

/** Serves SecretService.DestroySecret. */
export function createDestroySecret({ secrets, digestBody }: VaultHandlerDeps): DestroySecret {
  return async (request, ctx) => {
    const key = requestKey(ctx, DestroySecretRequestSchema, request, digestBody);
    await secrets.destroy(requirePrincipal(ctx), request.path, key);
    return {};
  };
}
