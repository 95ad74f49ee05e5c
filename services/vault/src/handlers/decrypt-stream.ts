import type { TransitService } from "@nexus/proto/vault";
import type { MethodImplementation } from "@nexus/rpc";
import { decryptionFailed } from "../domain/keys/key-errors.ts";
import { fromContext, keyNameOf } from "./convert-transit.ts";
import type { VaultHandlerDeps } from "./deps.ts";
import { firstFrame, limitedChunks } from "./stream-frames.ts";

type DecryptStream = MethodImplementation<typeof TransitService.method.decryptStream>;

/** Serves TransitService.DecryptStream. Nothing leaves before it is authentic; a missing end is an error. */
export function createDecryptStream(deps: VaultHandlerDeps): DecryptStream {
  const { transit, vault, streamMaxBytes } = deps;
  return async function* decrypt(requests, ctx) {
    const frames = requests[Symbol.asyncIterator]();
    const { keyName, keyVersion, context } = await firstFrame(frames);
    const { signal } = vault;
    const name = keyNameOf(ctx, keyName);
    const opener = await transit.opener(name, keyVersion, fromContext(context));
    try {
      for await (const piece of limitedChunks(frames, { signal, maxBytes: streamMaxBytes })) {
        const chunk = opener.update(piece);
        if (chunk === undefined) throw decryptionFailed();
        if (chunk.byteLength > 0) yield { chunk };
      }
      const chunk = opener.final();
      if (chunk === undefined) throw decryptionFailed();
      if (chunk.byteLength > 0) yield { chunk };
    } finally {
      opener.close();
    }
  };
}
