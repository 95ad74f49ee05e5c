import type { SealService } from "@nexus/proto/vault";
import type { MethodImplementation } from "@nexus/rpc";
import type { VaultHandlerDeps } from "./deps.ts";

type Unseal = MethodImplementation<typeof SealService.method.unseal>;

/** Serves SealService.Unseal. The key in the request is the proof. */
export function createUnseal({ vault }: VaultHandlerDeps): Unseal {
  return async ({ rootKey }, ctx) => {
    try {
      await vault.unseal(Buffer.from(rootKey), ctx.audit);
      return {};
    } finally {
      rootKey.fill(0);
    }
  };
}
