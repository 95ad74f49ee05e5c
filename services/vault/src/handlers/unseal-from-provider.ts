import type { SealService } from "@nexus/proto/vault";
import type { MethodImplementation } from "@nexus/rpc";
import type { VaultHandlerDeps } from "./deps.ts";
import { assertNamespaceOfAll } from "./namespace-of-all.ts";

type UnsealFromProvider = MethodImplementation<typeof SealService.method.unsealFromProvider>;

/** Serves SealService.UnsealFromProvider. */
export function createUnsealFromProvider({ vault }: VaultHandlerDeps): UnsealFromProvider {
  return async (_request, ctx) => {
    assertNamespaceOfAll(ctx);
    await vault.unsealFromProvider(ctx.audit);
    return {};
  };
}
