import type { TransitService } from "@nexus/proto/vault";
import type { MethodImplementation } from "@nexus/rpc";
import {
  assertBatchSize,
  fromItems,
  keyNameOf,
  noteResults,
  toItemError,
} from "./convert-transit.ts";
import type { VaultHandlerDeps } from "./deps.ts";

type DecryptBatch = MethodImplementation<typeof TransitService.method.decryptBatch>;

/** Serves TransitService.DecryptBatch. */
export function createDecryptBatch({ transit }: VaultHandlerDeps): DecryptBatch {
  return async ({ keyName, items }, ctx) => {
    assertBatchSize(items.map(({ ciphertext }) => ciphertext.length));
    const results = await transit.decrypt(keyNameOf(ctx, keyName), fromItems(items));
    noteResults(ctx, results);
    return {
      results: results.map((result) =>
        "error" in result
          ? { outcome: { case: "error", value: toItemError(result.error) } as const }
          : { outcome: { case: "plaintext", value: result.value.value } as const },
      ),
    };
  };
}
