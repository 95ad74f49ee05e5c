import { CreateKeyRequestSchema, type KeyService } from "@nexus/proto/vault";
import type { MethodImplementation } from "@nexus/rpc";
import { requirePrincipal } from "@nexus/rpc";
import { fromKeySpec, toKey } from "./convert-keys.ts";
import type { VaultHandlerDeps } from "./deps.ts";
import { requestKey } from "./request-key.ts";

type CreateKey = MethodImplementation<typeof KeyService.method.createKey>;

/** Serves KeyService.CreateKey. */
export function createCreateKey({ keyStore, digestBody }: VaultHandlerDeps): CreateKey {
  return async (request, ctx) => {
    const key = requestKey(ctx, CreateKeyRequestSchema, request, digestBody);
    const { namespace } = requirePrincipal(ctx);
    const changed = await keyStore.create(namespace, fromKeySpec(request), key);
    return { key: toKey(changed) };
  };
}
