import type { TransitService } from "@nexus/proto/vault";
import type { MethodImplementation } from "@nexus/rpc";
import { keyNameOf, onlyResult } from "./convert-transit.ts";
import type { VaultHandlerDeps } from "./deps.ts";

type VerifyHmac = MethodImplementation<typeof TransitService.method.verifyHmac>;

/** Serves TransitService.VerifyHmac. */
export function createVerifyHmac({ transit }: VaultHandlerDeps): VerifyHmac {
  return async ({ keyName, data, hmac }, ctx) => {
    const items = [{ data, proof: hmac }];
    return { valid: onlyResult(await transit.verifyHmac(keyNameOf(ctx, keyName), items)) };
  };
}
