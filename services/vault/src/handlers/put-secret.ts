import { PutSecretRequestSchema, type SecretService } from "@nexus/proto/vault";
import type { MethodImplementation } from "@nexus/rpc";
import { requirePrincipal } from "@nexus/rpc";
import { fromPut, toSecretWithVersion } from "./convert-secrets.ts";
import type { VaultHandlerDeps } from "./deps.ts";
import { requestKey } from "./request-key.ts";

type PutSecret = MethodImplementation<typeof SecretService.method.putSecret>;

/** Serves SecretService.PutSecret. */
export function createPutSecret({ secrets, digestBody }: VaultHandlerDeps): PutSecret {
  return async (request, ctx) => {
    const key = requestKey(ctx, PutSecretRequestSchema, request, digestBody);
    const put = await secrets.put(requirePrincipal(ctx), fromPut(request), key);
    return toSecretWithVersion(put);
  };
}
