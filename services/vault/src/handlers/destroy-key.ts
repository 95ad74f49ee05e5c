import { DestroyKeyRequestSchema, type KeyService } from "@nexus/proto/vault";
import type { MethodImplementation } from "@nexus/rpc";
import { requirePrincipal } from "@nexus/rpc";
import { toKey } from "./convert-keys.ts";
import type { VaultHandlerDeps } from "./deps.ts";
import { requestKey } from "./request-key.ts";

type DestroyKey = MethodImplementation<typeof KeyService.method.destroyKey>;

/** Serves KeyService.DestroyKey. */
export function createDestroyKey({ keyStore, digestBody }: VaultHandlerDeps): DestroyKey {
  return async (request, ctx) => {
    const key = requestKey(ctx, DestroyKeyRequestSchema, request, digestBody);
    const { namespace } = requirePrincipal(ctx);
    const changed = await keyStore.destroy({ namespace, name: request.name }, key);
    return { key: toKey(changed) };
  };
}
