import type { TransitService } from "@nexus/proto/vault";
import type { MethodImplementation } from "@nexus/rpc";
import { keyNameOf, onlyResult } from "./convert-transit.ts";
import type { VaultHandlerDeps } from "./deps.ts";

type Verify = MethodImplementation<typeof TransitService.method.verify>;

/** Serves TransitService.Verify. */
export function createVerify({ transit }: VaultHandlerDeps): Verify {
  return async ({ keyName, data, signature }, ctx) => {
    const items = [{ data, proof: signature }];
    return { valid: onlyResult(await transit.verify(keyNameOf(ctx, keyName), items)) };
  };
}
