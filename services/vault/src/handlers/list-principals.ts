import type { PrincipalService } from "@nexus/proto/vault";
import type { MethodImplementation } from "@nexus/rpc";
import { requirePrincipal } from "@nexus/rpc";
import { fromPage, toPrincipal } from "./convert.ts";
import type { VaultHandlerDeps } from "./deps.ts";

type ListPrincipals = MethodImplementation<typeof PrincipalService.method.listPrincipals>;

/** Serves PrincipalService.ListPrincipals. */
export function createListPrincipals({ directory }: VaultHandlerDeps): ListPrincipals {
  return async (request, ctx) => {
    const { namespace } = requirePrincipal(ctx);
    const { items, nextPageToken } = await directory.list(namespace, fromPage(request.page));
    return { principals: items.map(toPrincipal), page: { nextPageToken } };
  };
}
