import type { TransitService } from "@nexus/proto/vault";
import type { MethodImplementation } from "@nexus/rpc";
import { assertBatchSize, keyNameOf, noteItems, toItemError } from "./convert-transit.ts";
import type { VaultHandlerDeps } from "./deps.ts";

type VerifyBatch = MethodImplementation<typeof TransitService.method.verifyBatch>;

/** Serves TransitService.VerifyBatch. */
export function createVerifyBatch({ transit }: VaultHandlerDeps): VerifyBatch {
  return async ({ keyName, items }, ctx) => {
    assertBatchSize(items.map(({ data }) => data.byteLength));
    const proofs = items.map(({ data, signature }) => ({ data, proof: signature }));
    const results = await transit.verify(keyNameOf(ctx, keyName), proofs);
    noteItems(ctx, [], results.filter((result) => "error" in result).length);
    return {
      results: results.map((result) =>
        "error" in result
          ? { outcome: { case: "error", value: toItemError(result.error) } as const }
          : { outcome: { case: "valid", value: result.value } as const },
      ),
    };
  };
}
