import { DestroySecretVersionsRequestSchema, type SecretService } from "@nexus/proto/vault";
import type { MethodImplementation } from "@nexus/rpc";
import { requirePrincipal } from "@nexus/rpc";
import { toSecretVersion } from "./convert-secrets.ts";
import type { VaultHandlerDeps } from "./deps.ts";
import { requestKey } from "./request-key.ts";

type DestroySecretVersions = MethodImplementation<
  typeof SecretService.method.destroySecretVersions
>;

/** Serves SecretService.DestroySecretVersions. */
export function createDestroySecretVersions({
  secrets,
  digestBody,
}: VaultHandlerDeps): DestroySecretVersions {
  return async (request, ctx) => {
    const key = requestKey(ctx, DestroySecretVersionsRequestSchema, request, digestBody);
    const changed = await secrets.destroyVersions(requirePrincipal(ctx), request, key);
    return { versions: changed.map(toSecretVersion) };
  };
}
