import type { SecretService } from "@nexus/proto/vault";
import type { MethodImplementation } from "@nexus/rpc";
import { requirePrincipal } from "@nexus/rpc";
import { toSecretWithVersion } from "./convert-secrets.ts";
import type { VaultHandlerDeps } from "./deps.ts";

type GetSecretMetadata = MethodImplementation<typeof SecretService.method.getSecretMetadata>;

/** Serves SecretService.GetSecretMetadata. */
export function createGetSecretMetadata({ secrets }: VaultHandlerDeps): GetSecretMetadata {
  return async (request, ctx) => {
    return toSecretWithVersion(await secrets.describe(requirePrincipal(ctx), request.path));
  };
}
