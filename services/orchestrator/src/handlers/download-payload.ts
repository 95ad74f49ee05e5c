import type { PayloadService } from "@nexus/proto/orchestrator";
import { type MethodImplementation, requirePrincipal } from "@nexus/rpc";
import { PAYLOAD_MAX_BYTES, PAYLOAD_PART_BYTES } from "../domain/limits.ts";
import type { PayloadStore } from "../domain/stored-payload.ts";
import type { PayloadHandlerDeps } from "./deps.ts";

/** Serves PayloadService.DownloadPayload. Holds one part, and reads the next one when the caller has taken it. */
export function createDownloadPayload({
  payloads,
  streams,
}: PayloadHandlerDeps): MethodImplementation<typeof PayloadService.method.downloadPayload> {
  return async function* download({ sha256, offset }, ctx) {
    const { namespace } = requirePrincipal(ctx);
    const close = streams.open(namespace);
    try {
      yield* piecesOf(payloads, { namespace, sha256, offset: Number(offset) });
    } finally {
      close();
    }
  };
}

async function* piecesOf(
  payloads: PayloadStore,
  from: { readonly namespace: string; readonly sha256: Uint8Array; readonly offset: number },
) {
  let at = from.offset;
  for (;;) {
    const position = Math.floor(at / PAYLOAD_PART_BYTES);
    const start = position * PAYLOAD_PART_BYTES;
    const part = await payloads.readPart(from.namespace, from.sha256, position);
    if (part === undefined) return;
    for (; at < start + part.byteLength; at += PAYLOAD_MAX_BYTES) {
      yield { chunk: part.subarray(at - start, at - start + PAYLOAD_MAX_BYTES) };
    }
    if (part.byteLength < PAYLOAD_PART_BYTES) return;
    at = start + PAYLOAD_PART_BYTES;
  }
}
