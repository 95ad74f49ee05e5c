import type { SealService } from "@nexus/proto/vault";
import type { MethodImplementation } from "@nexus/rpc";
import type { VaultHandlerDeps } from "./deps.ts";
import { assertNamespaceOfAll } from "./namespace-of-all.ts";

type Seal = MethodImplementation<typeof SealService.method.seal>;

/** Serves SealService.Seal. */
export function createSeal({ vault }: VaultHandlerDeps): Seal {
  return async (_request, ctx) => {
    assertNamespaceOfAll(ctx);
    await vault.seal(ctx.audit);
    return {};
  };
}
