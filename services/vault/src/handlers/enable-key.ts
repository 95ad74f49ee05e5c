import { EnableKeyRequestSchema, type KeyService } from "@nexus/proto/vault";
import type { MethodImplementation } from "@nexus/rpc";
import { requirePrincipal } from "@nexus/rpc";
import { toKey } from "./convert-keys.ts";
import type { VaultHandlerDeps } from "./deps.ts";
import { requestKey } from "./request-key.ts";

type EnableKey = MethodImplementation<typeof KeyService.method.enableKey>;

/** Serves KeyService.EnableKey. */
export function createEnableKey({ keyStore, digestBody }: VaultHandlerDeps): EnableKey {
  return async (request, ctx) => {
    const key = requestKey(ctx, EnableKeyRequestSchema, request, digestBody);
    const { namespace } = requirePrincipal(ctx);
    const { name } = request;
    const changed = await keyStore.setState({ namespace, name }, "active", key);
    return { key: toKey(changed) };
  };
}
