import { type SecretService, UndeleteSecretVersionsRequestSchema } from "@nexus/proto/vault";
import type { MethodImplementation } from "@nexus/rpc";
import { requirePrincipal } from "@nexus/rpc";
import { toSecretVersion } from "./convert-secrets.ts";
import type { VaultHandlerDeps } from "./deps.ts";
import { requestKey } from "./request-key.ts";

type UndeleteSecretVersions = MethodImplementation<
  typeof SecretService.method.undeleteSecretVersions
>;

/** Serves SecretService.UndeleteSecretVersions. */
export function createUndeleteSecretVersions({
  secrets,
  digestBody,
}: VaultHandlerDeps): UndeleteSecretVersions {
  return async (request, ctx) => {
    const key = requestKey(ctx, UndeleteSecretVersionsRequestSchema, request, digestBody);
    const changed = await secrets.undeleteVersions(requirePrincipal(ctx), request, key);
    return { versions: changed.map(toSecretVersion) };
  };
}
