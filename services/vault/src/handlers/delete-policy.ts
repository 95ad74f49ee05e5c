import { type AccessService, DeletePolicyRequestSchema } from "@nexus/proto/vault";
import type { MethodImplementation } from "@nexus/rpc";
import { requirePrincipal } from "@nexus/rpc";
import type { VaultHandlerDeps } from "./deps.ts";
import { requestKey } from "./request-key.ts";

type DeletePolicy = MethodImplementation<typeof AccessService.method.deletePolicy>;

/** Serves AccessService.DeletePolicy. */
export function createDeletePolicy({
  accessDirectory,
  digestBody,
}: VaultHandlerDeps): DeletePolicy {
  return async (request, ctx) => {
    const key = requestKey(ctx, DeletePolicyRequestSchema, request, digestBody);
    return accessDirectory.deletePolicy(requirePrincipal(ctx), request.name, key);
  };
}
