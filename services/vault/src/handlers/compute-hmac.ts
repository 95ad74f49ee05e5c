import type { TransitService } from "@nexus/proto/vault";
import type { MethodImplementation } from "@nexus/rpc";
import { keyNameOf } from "./convert-transit.ts";
import type { VaultHandlerDeps } from "./deps.ts";

type ComputeHmac = MethodImplementation<typeof TransitService.method.computeHmac>;

/** Serves TransitService.ComputeHmac. */
export function createComputeHmac({ transit }: VaultHandlerDeps): ComputeHmac {
  return async ({ keyName, data }, ctx) => {
    const { value, keyVersion } = await transit.computeHmac(keyNameOf(ctx, keyName), [data]);
    return { hmac: value[0] ?? "", keyVersion };
  };
}
