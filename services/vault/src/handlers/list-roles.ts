import type { AccessService } from "@nexus/proto/vault";
import type { MethodImplementation } from "@nexus/rpc";
import { requirePrincipal } from "@nexus/rpc";
import { fromPage } from "./convert.ts";
import { toRole } from "./convert-access.ts";
import type { VaultHandlerDeps } from "./deps.ts";

type ListRoles = MethodImplementation<typeof AccessService.method.listRoles>;

/** Serves AccessService.ListRoles. */
export function createListRoles({ accessDirectory }: VaultHandlerDeps): ListRoles {
  return async ({ page }, ctx) => {
    const { namespace } = requirePrincipal(ctx);
    const { items, nextPageToken } = await accessDirectory.listRoles(namespace, fromPage(page));
    return { roles: items.map(toRole), page: { nextPageToken } };
  };
}
