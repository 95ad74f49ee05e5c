import type { TransitService } from "@nexus/proto/vault";
import type { MethodImplementation } from "@nexus/rpc";
import { fromContext, keyNameOf } from "./convert-transit.ts";
import type { VaultHandlerDeps } from "./deps.ts";
import { firstFrame, limitedChunks } from "./stream-frames.ts";

type EncryptStream = MethodImplementation<typeof TransitService.method.encryptStream>;

/** Serves TransitService.EncryptStream. Holds one chunk of the body; a seal ends it. */
export function createEncryptStream(deps: VaultHandlerDeps): EncryptStream {
  const { transit, vault, streamMaxBytes } = deps;
  return async function* encrypt(requests, ctx) {
    const frames = requests[Symbol.asyncIterator]();
    const start = await firstFrame(frames);
    const { keyName, context } = start;
    const { signal } = vault;
    const begun = await transit.sealer(keyNameOf(ctx, keyName), fromContext(context));
    const sealer = begun.value;
    try {
      yield { frame: { case: "keyVersion", value: begun.keyVersion } };
      yield { frame: { case: "chunk", value: sealer.header } };
      for await (const chunk of limitedChunks(frames, { signal, maxBytes: streamMaxBytes })) {
        const sealed = sealer.update(chunk);
        if (sealed.byteLength > 0) yield { frame: { case: "chunk", value: sealed } };
      }
      yield { frame: { case: "chunk", value: sealer.final() } };
    } finally {
      sealer.close();
    }
  };
}
