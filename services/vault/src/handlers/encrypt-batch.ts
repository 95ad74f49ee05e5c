import type { TransitService } from "@nexus/proto/vault";
import type { MethodImplementation } from "@nexus/rpc";
import { assertBatchSize, fromItems, keyNameOf, noteItems } from "./convert-transit.ts";
import type { VaultHandlerDeps } from "./deps.ts";

type EncryptBatch = MethodImplementation<typeof TransitService.method.encryptBatch>;

/** Serves TransitService.EncryptBatch. */
export function createEncryptBatch({ transit }: VaultHandlerDeps): EncryptBatch {
  return async ({ keyName, items }, ctx) => {
    assertBatchSize(items.map(({ plaintext }) => plaintext.byteLength));
    const { value, keyVersion } = await transit.encrypt(keyNameOf(ctx, keyName), fromItems(items));
    noteItems(ctx, [keyVersion]);
    const results = value.map((ciphertext) => ({
      outcome: { case: "ciphertext", value: ciphertext } as const,
    }));
    return { results };
  };
}
