import type { KeyService } from "@nexus/proto/vault";
import type { MethodImplementation } from "@nexus/rpc";
import { requirePrincipal } from "@nexus/rpc";
import { fromPage } from "./convert.ts";
import { toKey } from "./convert-keys.ts";
import type { VaultHandlerDeps } from "./deps.ts";

type ListKeys = MethodImplementation<typeof KeyService.method.listKeys>;

/** Serves KeyService.ListKeys. */
export function createListKeys({ keyStore }: VaultHandlerDeps): ListKeys {
  return async (request, ctx) => {
    const { namespace } = requirePrincipal(ctx);
    const { items, nextPageToken } = await keyStore.list(namespace, fromPage(request.page));
    return { keys: items.map(toKey), page: { nextPageToken } };
  };
}
