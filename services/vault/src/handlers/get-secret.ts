import type { SecretService } from "@nexus/proto/vault";
import type { MethodImplementation } from "@nexus/rpc";
import { requirePrincipal } from "@nexus/rpc";
import { toSecretVersion } from "./convert-secrets.ts";
import type { VaultHandlerDeps } from "./deps.ts";

type GetSecret = MethodImplementation<typeof SecretService.method.getSecret>;

/** Serves SecretService.GetSecret. */
export function createGetSecret({ secrets }: VaultHandlerDeps): GetSecret {
  return async (request, ctx) => {
    const found = await secrets.get(requirePrincipal(ctx), request);
    return {
      value: found.value,
      version: toSecretVersion(found.version),
      latestVersion: found.secret.latestVersion,
    };
  };
}
