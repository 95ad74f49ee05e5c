import { type KeyService, UpdateKeyRequestSchema } from "@nexus/proto/vault";
import type { MethodImplementation } from "@nexus/rpc";
import { requirePrincipal } from "@nexus/rpc";
import { fromKeyPatch, toKey } from "./convert-keys.ts";
import type { VaultHandlerDeps } from "./deps.ts";
import { requestKey } from "./request-key.ts";

type UpdateKey = MethodImplementation<typeof KeyService.method.updateKey>;

/** Serves KeyService.UpdateKey. */
export function createUpdateKey({ keyStore, digestBody }: VaultHandlerDeps): UpdateKey {
  return async (request, ctx) => {
    const key = requestKey(ctx, UpdateKeyRequestSchema, request, digestBody);
    const { namespace } = requirePrincipal(ctx);
    const { name, force } = request;
    const change = { patch: fromKeyPatch(request), force };
    const changed = await keyStore.update({ namespace, name }, change, key);
    return { key: toKey(changed) };
  };
}
