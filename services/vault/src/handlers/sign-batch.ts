import type { TransitService } from "@nexus/proto/vault";
import type { MethodImplementation } from "@nexus/rpc";
import { assertBatchSize, keyNameOf, noteItems } from "./convert-transit.ts";
import type { VaultHandlerDeps } from "./deps.ts";

type SignBatch = MethodImplementation<typeof TransitService.method.signBatch>;

/** Serves TransitService.SignBatch. */
export function createSignBatch({ transit }: VaultHandlerDeps): SignBatch {
  return async ({ keyName, items }, ctx) => {
    assertBatchSize(items.map(({ data }) => data.byteLength));
    const messages = items.map(({ data }) => data);
    const { value, keyVersion } = await transit.sign(keyNameOf(ctx, keyName), messages);
    noteItems(ctx, [keyVersion]);
    const results = value.map((signature) => ({
      outcome: { case: "signature", value: signature } as const,
    }));
    return { results };
  };
}
