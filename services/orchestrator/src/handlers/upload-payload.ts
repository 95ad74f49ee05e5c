import type { PayloadService, UploadPayloadRequest } from "@nexus/proto/orchestrator";
import { type MethodImplementation, requirePrincipal } from "@nexus/rpc";
import { NexusError, withDeadline } from "@nexus/shared";
import {
  PAYLOAD_QUOTA_BYTES_MIN,
  UPLOAD_SILENCE_MAX_MS,
  UPLOAD_TIME_MAX_MS,
} from "../domain/limits.ts";
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
  streams,
  payloadNamespaceMaxBytes,
}: PayloadHandlerDeps): MethodImplementation<typeof PayloadService.method.uploadPayload> {
  async function receive(frames: Frames, namespace: string): Promise<PayloadReference> {
    const reference = await takeStart(frames);
    const known = await payloads.find(namespace, reference.sha256);
    if (known?.sizeBytes === reference.sizeBytes) return reference;
    const used = await payloads.usedBytes(namespace);
    if (used + Math.max(reference.sizeBytes, PAYLOAD_QUOTA_BYTES_MIN) > payloadNamespaceMaxBytes) {
      throw quotaReached(payloadNamespaceMaxBytes);
    }
    const upload = await payloads.beginUpload();
    try {
      await withDeadline(appendAll(upload, frames, reference), UPLOAD_TIME_MAX_MS);
      await upload.commit(namespace, reference);
    } catch (error) {
      // What cannot be removed now is removed by its age.
      await upload.abandon().catch(() => undefined);
      throw error;
    }
    return reference;
  }

  return async (requests, ctx) => {
    const { namespace } = requirePrincipal(ctx);
    const close = streams.open(namespace);
    try {
      const frames = requests[Symbol.asyncIterator]();
      return { reference: fromReference(await receive(frames, namespace)) };
    } finally {
      close();
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
