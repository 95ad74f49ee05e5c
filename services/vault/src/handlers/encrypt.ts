import type { TransitService } from "@nexus/proto/vault";
import type { MethodImplementation } from "@nexus/rpc";
import { fromContext, keyNameOf } from "./convert-transit.ts";
import type { VaultHandlerDeps } from "./deps.ts";

type Encrypt = MethodImplementation<typeof TransitService.method.encrypt>;

/** Serves TransitService.Encrypt. */
export function createEncrypt({ transit }: VaultHandlerDeps): Encrypt {
  return async (request, ctx) => {
    const { keyName, plaintext } = request;
    const item = { plaintext, context: fromContext(request.context) };
    const { value, keyVersion } = await transit.encrypt(keyNameOf(ctx, keyName), [item]);
    return { ciphertext: value[0] ?? "", keyVersion };
  };
}
