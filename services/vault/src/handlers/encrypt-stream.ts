import type { TransitService } from "@nexus/proto/vault";
import type { MethodImplementation } from "@nexus/rpc";
import { fromContext, keyNameOf } from "./convert-transit.ts";
import type { VaultHandlerDeps } from "./deps.ts";
import { assertAccess } from "./guard-resources.ts";
import { firstFrame, limitedChunks } from "./stream-frames.ts";

type EncryptStream = MethodImplementation<typeof TransitService.method.encryptStream>;

/** Serves TransitService.EncryptStream. Holds one chunk of the body; a seal ends it, and so does the end of the key. */
export function createEncryptStream(deps: VaultHandlerDeps): EncryptStream {
  const { transit, book, streamMaxBytes } = deps;
  return async function* encrypt(requests, ctx) {
    const frames = requests[Symbol.asyncIterator]();
    const start = await firstFrame(frames);
    const { keyName, context } = start;
    assertAccess(book, ctx, keyName);
    const name = keyNameOf(ctx, keyName);
    const { cipher: sealer, keyVersion, hold } = await transit.sealer(name, fromContext(context));
    try {
      yield { frame: { case: "keyVersion", value: keyVersion } };
      yield { frame: { case: "chunk", value: sealer.header } };
      const limits = { signal: hold.signal, maxBytes: streamMaxBytes };
      for await (const chunk of limitedChunks(frames, limits)) {
        const sealed = sealer.update(chunk);
        if (sealed.byteLength > 0) yield { frame: { case: "chunk", value: sealed } };
      }
      yield { frame: { case: "chunk", value: sealer.final() } };
    } finally {
      sealer.close();
      hold.release();
    }
  };
}
