import type { CaService } from "@nexus/proto/vault";
import type { MethodImplementation } from "@nexus/rpc";
import { toBundle } from "../domain/authority.ts";
import { toAuthority } from "./convert-authority.ts";
import type { VaultHandlerDeps } from "./deps.ts";

type GetTrustBundle = MethodImplementation<typeof CaService.method.getTrustBundle>;

/** Serves CaService.GetTrustBundle. */
export function createGetTrustBundle({ authority }: VaultHandlerDeps): GetTrustBundle {
  return async () => {
    const rows = await authority.trusted();
    return { trustBundlePem: toBundle(rows), authorities: rows.map(toAuthority) };
  };
}
