import { type KeyService, RotateKeyRequestSchema } from "@nexus/proto/vault";
import type { MethodImplementation } from "@nexus/rpc";
import { requirePrincipal } from "@nexus/rpc";
import { toKey } from "./convert-keys.ts";
import type { VaultHandlerDeps } from "./deps.ts";
import { requestKey } from "./request-key.ts";

type RotateKey = MethodImplementation<typeof KeyService.method.rotateKey>;

/** Serves KeyService.RotateKey. */
export function createRotateKey({ keyStore, digestBody }: VaultHandlerDeps): RotateKey {
  return async (request, ctx) => {
    const key = requestKey(ctx, RotateKeyRequestSchema, request, digestBody);
    const { namespace } = requirePrincipal(ctx);
    const changed = await keyStore.rotate({ namespace, name: request.name }, key);
    return { key: toKey(changed) };
  };
}
