import type { AccessService } from "@nexus/proto/vault";
import type { MethodImplementation } from "@nexus/rpc";
import { requirePrincipal } from "@nexus/rpc";
import { fromPage } from "./convert.ts";
import { toPolicy } from "./convert-access.ts";
import type { VaultHandlerDeps } from "./deps.ts";

type ListPolicies = MethodImplementation<typeof AccessService.method.listPolicies>;

/** Serves AccessService.ListPolicies. */
export function createListPolicies({ accessDirectory }: VaultHandlerDeps): ListPolicies {
  return async ({ page }, ctx) => {
    const { namespace } = requirePrincipal(ctx);
    const { items, nextPageToken } = await accessDirectory.listPolicies(namespace, fromPage(page));
    return { policies: items.map(toPolicy), page: { nextPageToken } };
  };
}
