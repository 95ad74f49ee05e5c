import type { PayloadService, UploadPayloadRequest } from "@nexus/proto/orchestrator";
import { type MethodImplementation, requirePrincipal } from "@nexus/rpc";
import { NexusError, withDeadline } from "@nexus/shared";
import { PAYLOAD_UPLOADS_MAX, UPLOAD_SILENCE_MAX_MS } from "../domain/limits.ts";
import {
  cutIntoParts,
  type PayloadReference,
  type PayloadUpload,
} from "../domain/stored-payload.ts";
import { fromReference } from "./convert.ts";
import type { PayloadHandlerDeps } from "./deps.ts";

type Frames = AsyncIterator<UploadPayloadRequest>;

/** Serves PayloadService.UploadPayload. Holds one part of the body, and takes the next chunk when that is stored. */
export function createUploadPayload({
  payloads,
  payloadNamespaceMaxBytes,
}: PayloadHandlerDeps): MethodImplementation<typeof PayloadService.method.uploadPayload> {
  let uploads = 0;

  async function receive(frames: Frames, namespace: string): Promise<PayloadReference> {
    const reference = await takeStart(frames);
    const known = await payloads.find(namespace, reference.sha256);
    if (known?.sizeBytes === reference.sizeBytes) return reference;
    const used = await payloads.usedBytes(namespace);
    if (used + reference.sizeBytes > payloadNamespaceMaxBytes) {
      throw quotaReached(payloadNamespaceMaxBytes);
    }
    const upload = await payloads.beginUpload();
    try {
      await appendAll(upload, frames, reference);
      await upload.commit(namespace, reference);
    } catch (error) {
      // What cannot be removed now is removed by its age.
      await upload.abandon().catch(() => undefined);
      throw error;
    }
    return reference;
  }

  return async (requests, ctx) => {
    if (uploads >= PAYLOAD_UPLOADS_MAX) throw uploadsBusy();
    uploads += 1;
    try {
      const frames = requests[Symbol.asyncIterator]();
      const reference = await receive(frames, requirePrincipal(ctx).namespace);
      return { reference: fromReference(reference) };
    } finally {
      uploads -= 1;
    }
  };
}

async function appendAll(
  upload: PayloadUpload,
  frames: Frames,
  reference: PayloadReference,
): Promise<void> {
  for await (const part of cutIntoParts(chunksOf(frames), reference)) await upload.append(part);
}

async function takeStart(frames: Frames): Promise<PayloadReference> {
  const frame = await nextFrame(frames);
  if (frame?.case !== "start") throw frameInvalid("The first frame of an upload is its start.");
  return { sha256: frame.value.sha256, sizeBytes: Number(frame.value.sizeBytes) };
}

async function* chunksOf(frames: Frames): AsyncGenerator<Uint8Array, void> {
  for (;;) {
    const frame = await nextFrame(frames);
    if (frame === undefined) return;
    if (frame.case !== "chunk") throw frameInvalid("An upload has one start.");
    yield frame.value;
  }
}

async function nextFrame(frames: Frames): Promise<UploadPayloadRequest["frame"] | undefined> {
  const step = await withDeadline(frames.next(), UPLOAD_SILENCE_MAX_MS);
  return step.done === true ? undefined : step.value.frame;
}

function frameInvalid(message: string): NexusError {
  return new NexusError({ kind: "invalid", reason: "FRAME_INVALID", message });
}

function quotaReached(maxBytes: number): NexusError {
  return new NexusError({
    kind: "exhausted",
    reason: "PAYLOAD_QUOTA",
    message: `A namespace stores at most ${maxBytes} bytes of payloads; they go some days after their last use.`,
  });
}

function uploadsBusy(): NexusError {
  return new NexusError({
    kind: "exhausted",
    reason: "PAYLOAD_UPLOADS_BUSY",
    message: `At most ${PAYLOAD_UPLOADS_MAX} uploads are taken at the same time; try again.`,
    details: { retryAfterMs: 1_000 },
  });
}
