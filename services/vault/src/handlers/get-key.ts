import type { KeyService } from "@nexus/proto/vault";
import type { MethodImplementation } from "@nexus/rpc";
import { requirePrincipal } from "@nexus/rpc";
import { toKey } from "./convert-keys.ts";
import type { VaultHandlerDeps } from "./deps.ts";

type GetKey = MethodImplementation<typeof KeyService.method.getKey>;

/** Serves KeyService.GetKey. */
export function createGetKey({ keyStore }: VaultHandlerDeps): GetKey {
  return async ({ name }, ctx) => {
    const { namespace } = requirePrincipal(ctx);
    return { key: toKey(await keyStore.read({ namespace, name })) };
  };
}
