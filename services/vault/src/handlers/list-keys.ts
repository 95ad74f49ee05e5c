import type { KeyService } from "@nexus/proto/vault";
import type { MethodImplementation } from "@nexus/rpc";
import { requirePrincipal } from "@nexus/rpc";
import { fromPage } from "./convert.ts";
import { toKey } from "./convert-keys.ts";
import type { VaultHandlerDeps } from "./deps.ts";
import { mayAccess } from "./guard-resources.ts";

type ListKeys = MethodImplementation<typeof KeyService.method.listKeys>;

/** Serves KeyService.ListKeys. Shows the keys that the caller may read; a page may hold fewer than were asked for. */
export function createListKeys({ keyStore, book }: VaultHandlerDeps): ListKeys {
  return async (request, ctx) => {
    const { namespace } = requirePrincipal(ctx);
    const { items, nextPageToken } = await keyStore.list(namespace, fromPage(request.page));
    const shown = items.filter(({ name }) => mayAccess(book, ctx, name));
    return { keys: shown.map(toKey), page: { nextPageToken } };
  };
}
