import type { SealService } from "@nexus/proto/vault";
import type { MethodImplementation } from "@nexus/rpc";
import { toSealReason } from "./convert-keys.ts";
import type { VaultHandlerDeps } from "./deps.ts";

type GetSealStatus = MethodImplementation<typeof SealService.method.getSealStatus>;

/** Serves SealService.GetSealStatus from memory. */
export function createGetSealStatus({ vault }: VaultHandlerDeps): GetSealStatus {
  return () => {
    const reason = vault.sealReason;
    return { sealed: reason !== undefined, reason: toSealReason(reason) };
  };
}
