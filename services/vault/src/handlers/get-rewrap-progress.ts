import type { KeyService } from "@nexus/proto/vault";
import type { MethodImplementation } from "@nexus/rpc";
import { requirePrincipal } from "@nexus/rpc";
import type { VaultHandlerDeps } from "./deps.ts";

type GetRewrapProgress = MethodImplementation<typeof KeyService.method.getRewrapProgress>;

/** Serves KeyService.GetRewrapProgress. */
export function createGetRewrapProgress({ keyStore }: VaultHandlerDeps): GetRewrapProgress {
  return async (_request, ctx) => {
    const { namespace } = requirePrincipal(ctx);
    const { namespaceKeyVersion, total, remaining } = await keyStore.rewrapProgress(namespace);
    return { namespaceKeyVersion, total: BigInt(total), remaining: BigInt(remaining) };
  };
}
