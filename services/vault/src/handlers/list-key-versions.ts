import type { KeyService } from "@nexus/proto/vault";
import type { MethodImplementation } from "@nexus/rpc";
import { requirePrincipal } from "@nexus/rpc";
import { fromPage } from "./convert.ts";
import { toKeyVersion } from "./convert-keys.ts";
import type { VaultHandlerDeps } from "./deps.ts";

type ListKeyVersions = MethodImplementation<typeof KeyService.method.listKeyVersions>;

/** Serves KeyService.ListKeyVersions. */
export function createListKeyVersions({ keyStore }: VaultHandlerDeps): ListKeyVersions {
  return async ({ name, page }, ctx) => {
    const { namespace } = requirePrincipal(ctx);
    const listed = await keyStore.listVersions({ namespace, name }, fromPage(page));
    const versions = listed.items.map((version) => toKeyVersion(listed.key, version));
    return { versions, page: { nextPageToken: listed.nextPageToken } };
  };
}
