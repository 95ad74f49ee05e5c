import { type AccessService, PutPolicyRequestSchema } from "@nexus/proto/vault";
import type { MethodImplementation } from "@nexus/rpc";
import { requirePrincipal } from "@nexus/rpc";
import { fromPolicySpec, toPolicy } from "./convert-access.ts";
import type { VaultHandlerDeps } from "./deps.ts";
import { requestKey } from "./request-key.ts";

type PutPolicy = MethodImplementation<typeof AccessService.method.putPolicy>;

/** Serves AccessService.PutPolicy. */
export function createPutPolicy({ accessDirectory, digestBody }: VaultHandlerDeps): PutPolicy {
  return async (request, ctx) => {
    const key = requestKey(ctx, PutPolicyRequestSchema, request, digestBody);
    const spec = fromPolicySpec(request);
    const policy = await accessDirectory.putPolicy(requirePrincipal(ctx), spec, key);
    return { policy: toPolicy(policy) };
  };
}
