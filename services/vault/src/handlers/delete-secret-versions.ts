import { DeleteSecretVersionsRequestSchema, type SecretService } from "@nexus/proto/vault";
import type { MethodImplementation } from "@nexus/rpc";
import { requirePrincipal } from "@nexus/rpc";
import { toSecretVersion } from "./convert-secrets.ts";
import type { VaultHandlerDeps } from "./deps.ts";
import { requestKey } from "./request-key.ts";

type DeleteSecretVersions = MethodImplementation<typeof SecretService.method.deleteSecretVersions>;

/** Serves SecretService.DeleteSecretVersions. */
export function createDeleteSecretVersions({
  secrets,
  digestBody,
}: VaultHandlerDeps): DeleteSecretVersions {
  return async (request, ctx) => {
    const key = requestKey(ctx, DeleteSecretVersionsRequestSchema, request, digestBody);
    const changed = await secrets.deleteVersions(requirePrincipal(ctx), request, key);
    return { versions: changed.map(toSecretVersion) };
  };
}
