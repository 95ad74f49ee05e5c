import type { TransitService } from "@nexus/proto/vault";
import type { MethodImplementation } from "@nexus/rpc";
import { fromContext, keyNameOf, onlyResult } from "./convert-transit.ts";
import type { VaultHandlerDeps } from "./deps.ts";

type Decrypt = MethodImplementation<typeof TransitService.method.decrypt>;

/** Serves TransitService.Decrypt. */
export function createDecrypt({ transit }: VaultHandlerDeps): Decrypt {
  return async (request, ctx) => {
    const { keyName, ciphertext } = request;
    const item = { ciphertext, context: fromContext(request.context) };
    const results = await transit.decrypt(keyNameOf(ctx, keyName), [item]);
    const { value, keyVersion } = onlyResult(results);
    return { plaintext: value, keyVersion };
  };
}
