import type { SecretService } from "@nexus/proto/vault";
import type { MethodImplementation } from "@nexus/rpc";
import { requirePrincipal } from "@nexus/rpc";
import { fromPage } from "./convert.ts";
import { toSecretVersion } from "./convert-secrets.ts";
import type { VaultHandlerDeps } from "./deps.ts";

type ListSecretVersions = MethodImplementation<typeof SecretService.method.listSecretVersions>;

/** Serves SecretService.ListSecretVersions. */
export function createListSecretVersions({ secrets }: VaultHandlerDeps): ListSecretVersions {
  return async (request, ctx) => {
    const { path, page } = request;
    const listed = await secrets.listVersions(requirePrincipal(ctx), path, fromPage(page));
    return {
      versions: listed.items.map(toSecretVersion),
      page: { nextPageToken: listed.nextPageToken },
    };
  };
}
