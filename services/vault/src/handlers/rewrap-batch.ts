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

type RewrapBatch = MethodImplementation<typeof TransitService.method.rewrapBatch>;

/** Serves TransitService.RewrapBatch. */
export function createRewrapBatch({ transit }: VaultHandlerDeps): RewrapBatch {
  return async ({ keyName, items }, ctx) => {
    assertBatchSize(items.map(({ ciphertext }) => ciphertext.length));
    const results = await transit.rewrap(keyNameOf(ctx, keyName), fromItems(items));
    noteResults(ctx, results);
    return {
      results: results.map((result) =>
        "error" in result
          ? { outcome: { case: "error", value: toItemError(result.error) } as const }
          : { outcome: { case: "ciphertext", value: result.value.value } as const },
      ),
    };
  };
}
