import type { TransitService } from "@nexus/proto/vault";
import type { MethodImplementation } from "@nexus/rpc";
import { fromContext, keyNameOf, onlyResult } from "./convert-transit.ts";
import type { VaultHandlerDeps } from "./deps.ts";

type Rewrap = MethodImplementation<typeof TransitService.method.rewrap>;

/** Serves TransitService.Rewrap. */
export function createRewrap({ transit }: VaultHandlerDeps): Rewrap {
  return async (request, ctx) => {
    const { keyName, ciphertext } = request;
    const item = { ciphertext, context: fromContext(request.context) };
    const results = await transit.rewrap(keyNameOf(ctx, keyName), [item]);
    const { value, keyVersion } = onlyResult(results);
    return { ciphertext: value, keyVersion };
  };
}
