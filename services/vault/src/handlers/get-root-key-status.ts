import type { SealService } from "@nexus/proto/vault";
import type { MethodImplementation } from "@nexus/rpc";
import type { VaultHandlerDeps } from "./deps.ts";
import { assertNamespaceOfAll } from "./namespace-of-all.ts";

type GetRootKeyStatus = MethodImplementation<typeof SealService.method.getRootKeyStatus>;

/** Serves SealService.GetRootKeyStatus. */
export function createGetRootKeyStatus({ vault }: VaultHandlerDeps): GetRootKeyStatus {
  return async (_request, ctx) => {
    assertNamespaceOfAll(ctx);
    const status = await vault.rootKeyStatus();
    return {
      source: status.source,
      rootKeyId: status.rootKeyId,
      recoveryKeyId: status.recoveryKeyId ?? "",
      tenantKeys: BigInt(status.tenantKeys),
      staleTenantKeys: BigInt(status.staleTenantKeys),
    };
  };
}
