import type { SecretService } from "@nexus/proto/vault";
import type { MethodImplementation } from "@nexus/rpc";
import { requirePrincipal } from "@nexus/rpc";
import { fromPage } from "./convert.ts";
import { toSecretLease } from "./convert-secrets.ts";
import type { VaultHandlerDeps } from "./deps.ts";

type ListSecretLeases = MethodImplementation<typeof SecretService.method.listSecretLeases>;

/** Serves SecretService.ListSecretLeases. */
export function createListSecretLeases({ secretLeases }: VaultHandlerDeps): ListSecretLeases {
  return async (request, ctx) => {
    const { prefix, page } = request;
    const listed = await secretLeases.list(requirePrincipal(ctx), prefix, fromPage(page));
    return {
      leases: listed.items.map(toSecretLease),
      page: { nextPageToken: listed.nextPageToken },
    };
  };
}
