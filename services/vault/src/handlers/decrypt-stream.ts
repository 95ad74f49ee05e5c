import type { TransitService } from "@nexus/proto/vault";
import type { MethodImplementation } from "@nexus/rpc";
import { envelopeBytes } from "../domain/crypto/envelope.ts";
import { decryptionFailed } from "../domain/keys/key-errors.ts";
import { fromContext, keyNameOf } from "./convert-transit.ts";
import type { VaultHandlerDeps } from "./deps.ts";
import { assertAccess } from "./guard-resources.ts";
import { firstFrame, limitedChunks } from "./stream-frames.ts";

type DecryptStream = MethodImplementation<typeof TransitService.method.decryptStream>;

/** Serves TransitService.DecryptStream. Nothing leaves before it is authentic; a missing end is an error. */
export function createDecryptStream(deps: VaultHandlerDeps): DecryptStream {
  const { transit, book, streamMaxBytes } = deps;
  // What was encrypted at the limit must decrypt.
  const maxBytes = envelopeBytes(streamMaxBytes);
  return async function* decrypt(requests, ctx) {
    const frames = requests[Symbol.asyncIterator]();
    const { keyName, keyVersion, context } = await firstFrame(frames);
    assertAccess(book, ctx, keyName);
    const name = keyNameOf(ctx, keyName);
    const begun = await transit.opener(name, keyVersion, fromContext(context));
    const { cipher: opener, hold } = begun;
    try {
      for await (const piece of limitedChunks(frames, { signal: hold.signal, maxBytes })) {
        const chunk = opener.update(piece);
        if (chunk === undefined) throw decryptionFailed();
        if (chunk.byteLength > 0) yield { chunk };
      }
      const chunk = opener.final();
      if (chunk === undefined) throw decryptionFailed();
      if (chunk.byteLength > 0) yield { chunk };
    } finally {
      opener.close();
      hold.release();
    }
  };
}
