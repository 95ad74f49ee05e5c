import type { TransitService } from "@nexus/proto/vault";
import type { MethodImplementation } from "@nexus/rpc";
import { fromContext, keyNameOf } from "./convert-transit.ts";
import type { VaultHandlerDeps } from "./deps.ts";

/** Bytes of a data key whose size is not asked for. */
const DATA_KEY_BYTES_DEFAULT = 32;

type GenerateDataKey = MethodImplementation<typeof TransitService.method.generateDataKey>;

/** Serves TransitService.GenerateDataKey. */
export function createGenerateDataKey({ transit }: VaultHandlerDeps): GenerateDataKey {
  return async (request, ctx) => {
    const { keyName, sizeBytes, wrappedOnly } = request;
    const wanted = {
      sizeBytes: sizeBytes === 0 ? DATA_KEY_BYTES_DEFAULT : sizeBytes,
      context: fromContext(request.context),
    };
    const made = await transit.generateDataKey(keyNameOf(ctx, keyName), wanted);
    const { plaintext, wrapped } = made.value;
    const plaintextKey = wrappedOnly ? new Uint8Array() : plaintext;
    return { plaintextKey, wrappedKey: wrapped, keyVersion: made.keyVersion };
  };
}
