import { DisableKeyRequestSchema, type KeyService } from "@nexus/proto/vault";
import type { MethodImplementation } from "@nexus/rpc";
import { requirePrincipal } from "@nexus/rpc";
import { toKey } from "./convert-keys.ts";
import type { VaultHandlerDeps } from "./deps.ts";
import { requestKey } from "./request-key.ts";

type DisableKey = MethodImplementation<typeof KeyService.method.disableKey>;

/** Serves KeyService.DisableKey. */
export function createDisableKey({ keyStore, digestBody }: VaultHandlerDeps): DisableKey {
  return async (request, ctx) => {
    const key = requestKey(ctx, DisableKeyRequestSchema, request, digestBody);
    const { namespace } = requirePrincipal(ctx);
    const { name } = request;
    const changed = await keyStore.setState({ namespace, name }, "disabled", key);
    return { key: toKey(changed) };
  };
}
