import type { TransitService } from "@nexus/proto/vault";
import type { MethodImplementation } from "@nexus/rpc";
import { keyNameOf } from "./convert-transit.ts";
import type { VaultHandlerDeps } from "./deps.ts";

type Sign = MethodImplementation<typeof TransitService.method.sign>;

/** Serves TransitService.Sign. */
export function createSign({ transit }: VaultHandlerDeps): Sign {
  return async ({ keyName, data }, ctx) => {
    const { value, keyVersion } = await transit.sign(keyNameOf(ctx, keyName), [data]);
    return { signature: value[0] ?? "", keyVersion };
  };
}
