import type { SecretService } from "@nexus/proto/vault";
import type { MethodImplementation } from "@nexus/rpc";
import { requirePrincipal } from "@nexus/rpc";
import { fromPage } from "./convert.ts";
import { toSecret } from "./convert-secrets.ts";
import type { VaultHandlerDeps } from "./deps.ts";

type ListSecrets = MethodImplementation<typeof SecretService.method.listSecrets>;

/** Serves SecretService.ListSecrets. */
export function createListSecrets({ secrets }: VaultHandlerDeps): ListSecrets {
  return async (request, ctx) => {
    const { prefix, page } = request;
    const listed = await secrets.list(requirePrincipal(ctx), prefix, fromPage(page));
    return {
      secrets: listed.items.map(toSecret),
      page: { nextPageToken: listed.nextPageToken },
    };
  };
}
