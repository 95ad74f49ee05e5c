import { type SecretService, UpdateSecretMetadataRequestSchema } from "@nexus/proto/vault";
import type { MethodImplementation } from "@nexus/rpc";
import { requirePrincipal } from "@nexus/rpc";
import { fromPatch, toSecret } from "./convert-secrets.ts";
import type { VaultHandlerDeps } from "./deps.ts";
import { requestKey } from "./request-key.ts";

type UpdateSecretMetadata = MethodImplementation<typeof SecretService.method.updateSecretMetadata>;

/** Serves SecretService.UpdateSecretMetadata. */
export function createUpdateSecretMetadata({
  secrets,
  digestBody,
}: VaultHandlerDeps): UpdateSecretMetadata {
  return async (request, ctx) => {
    const key = requestKey(ctx, UpdateSecretMetadataRequestSchema, request, digestBody);
    const change = { path: request.path, patch: fromPatch(request) };
    return { secret: toSecret(await secrets.update(requirePrincipal(ctx), change, key)) };
  };
}
