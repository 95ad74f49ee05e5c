/** Bodies that are too large for a message: they go to the payload store and come from it, and payloads refer to them. */
import { createHash } from "node:crypto";
import type { Payload } from "@nexus/proto/common";
import type { PayloadService } from "@nexus/proto/orchestrator";
import type { RpcClient } from "@nexus/rpc/client";
import { MiB, NexusError, sleep } from "@nexus/shared";
import {
  encodePayload,
  PAYLOAD_BYTES_MAX,
  payloadTooLarge,
  RawPayload,
  StoredPayload,
  type StoredReference,
} from "./payload.ts";

/** Largest body that is stored; the contract's limit. */
export const STORED_PAYLOAD_BYTES_MAX = 64 * MiB;

/** One transfer, its resumptions included. */
const TRANSFER_TIMEOUT_MS = 120_000;
/** Times in a row that a transfer which broke is taken up again without having come on. */
const RESUMES_MAX = 3;
/** Between two tries while too many bodies are under way, when the store names no time. */
const BUSY_WAIT_MS = 1_000;

/** The store behind the gateway: `createClient(...).payloads`. */
export type PayloadClient = RpcClient<typeof PayloadService>;

/** Turns a value of up to 64 MiB into a payload, as toPayload() does; a body of more than 256 KiB is uploaded first, unless it is
 * stored already. The result may be the input of a task, in SubmitJob and in a plan, or what a handler returns.
 *
 * Errors: those of toPayload(), with 64 MiB as the limit; exhausted/PAYLOAD_QUOTA; those of the call. */
export async function toStoredPayload(
  client: PayloadClient,
  value: unknown,
  options: { readonly signal?: AbortSignal } = {},
): Promise<RawPayload | StoredPayload> {
  if (value instanceof StoredPayload) return value;
  const { contentType, data } = encodePayload(value);
  if (data.byteLength <= PAYLOAD_BYTES_MAX) return new RawPayload(contentType, data);
  return new StoredPayload(contentType, await uploadPayload(client, data, options));
}

/** Returns a payload with its body in it, downloaded if it only referred to it.
 *
 * Errors: not_found/PAYLOAD_NOT_FOUND when the body is gone; invalid/PAYLOAD_MISMATCH when what came is another one. */
export async function fetchPayload(
  client: PayloadClient,
  payload: Payload,
  options: { readonly signal?: AbortSignal } = {},
): Promise<Payload> {
  if (payload.reference === undefined) return payload;
  const data = await downloadPayload(client, payload.reference, options);
  return { ...payload, data, reference: undefined };
}

/** Stores a body, 1 byte to 64 MiB, and returns what a payload refers to it by.
 *
 * Errors: invalid/PAYLOAD_TOO_LARGE; exhausted/PAYLOAD_QUOTA, exhausted/PAYLOAD_STREAMS_BUSY when it stays so for the time
 * of a transfer; those of the call. */
export async function uploadPayload(
  client: PayloadClient,
  data: Uint8Array,
  { signal }: { readonly signal?: AbortSignal } = {},
): Promise<StoredReference> {
  if (data.byteLength > STORED_PAYLOAD_BYTES_MAX) {
    throw payloadTooLarge(data.byteLength, STORED_PAYLOAD_BYTES_MAX);
  }
  const sha256 = new Uint8Array(createHash("sha256").update(data).digest());
  const reference = { sha256, sizeBytes: BigInt(data.byteLength) };
  const options = { timeoutMs: TRANSFER_TIMEOUT_MS, ...(signal && { signal }) };
  if (await isStored(client, sha256, options)) return reference;
  const deadlineAtMs = Date.now() + TRANSFER_TIMEOUT_MS;
  for (;;) {
    try {
      await client.uploadPayload(framesOf(reference, data), options);
      return reference;
    } catch (error) {
      await untilLessBusy(error, deadlineAtMs, signal);
    }
  }
}

/** Fetches a stored body and checks that it is the one.
 *
 * Errors: not_found/PAYLOAD_NOT_FOUND; invalid/PAYLOAD_MISMATCH; those of the call. */
export async function downloadPayload(
  client: PayloadClient,
  reference: { readonly sha256: Uint8Array; readonly sizeBytes: bigint },
  { signal }: { readonly signal?: AbortSignal } = {},
): Promise<Uint8Array<ArrayBuffer>> {
  const { sizeBytes } = reference;
  const sha256 = new Uint8Array(reference.sha256);
  if (sizeBytes > STORED_PAYLOAD_BYTES_MAX) {
    throw payloadTooLarge(Number(sizeBytes), STORED_PAYLOAD_BYTES_MAX);
  }
  const arriving: Arriving = { body: new Uint8Array(Number(sizeBytes)), offset: 0 };
  const deadlineAtMs = Date.now() + TRANSFER_TIMEOUT_MS;
  for (let broken = 0; arriving.offset < arriving.body.byteLength; ) {
    const from = arriving.offset;
    const timeoutMs = Math.max(1, deadlineAtMs - Date.now());
    const request = { sha256, offset: BigInt(from) };
    const pieces = client.downloadPayload(request, { timeoutMs, ...(signal && { signal }) });
    try {
      await takeIn(arriving, pieces);
    } catch (error) {
      broken = arriving.offset > from ? 0 : broken + 1;
      if (NexusError.is(error, "exhausted")) await untilLessBusy(error, deadlineAtMs, signal);
      else if (!NexusError.is(error, "unavailable") || broken > RESUMES_MAX) throw error;
    }
  }
  if (!createHash("sha256").update(arriving.body).digest().equals(sha256)) throw mismatch();
  return arriving.body;
}

/** Waits as long as the store asks for; throws what it cannot wait for. */
async function untilLessBusy(
  error: unknown,
  deadlineAtMs: number,
  signal: AbortSignal | undefined,
): Promise<void> {
  if (!NexusError.is(error, "exhausted", "PAYLOAD_STREAMS_BUSY")) throw error;
  const waitMs = error.details.retryAfterMs ?? BUSY_WAIT_MS;
  if (Date.now() + waitMs > deadlineAtMs) throw error;
  await sleep(waitMs, signal);
}

/** A body of which the first bytes have come. */
interface Arriving {
  readonly body: Uint8Array<ArrayBuffer>;
  offset: number;
}

/** Takes in what comes to the end of the body; what came before an error stays. */
async function takeIn(
  arriving: Arriving,
  pieces: AsyncIterable<{ readonly chunk: Uint8Array }>,
): Promise<void> {
  const { body } = arriving;
  for await (const { chunk } of pieces) {
    if (arriving.offset + chunk.byteLength > body.byteLength) throw mismatch();
    body.set(chunk, arriving.offset);
    arriving.offset += chunk.byteLength;
  }
  if (arriving.offset < body.byteLength) throw mismatch();
}

async function isStored(
  client: PayloadClient,
  sha256: Uint8Array<ArrayBuffer>,
  options: { readonly signal?: AbortSignal },
): Promise<boolean> {
  try {
    await client.findPayload({ sha256 }, options);
    return true;
  } catch (error) {
    if (NexusError.is(error, "not_found", "PAYLOAD_NOT_FOUND")) return false;
    throw error;
  }
}

async function* framesOf(reference: StoredReference, data: Uint8Array) {
  yield { frame: { case: "start" as const, value: reference } };
  for (let at = 0; at < data.byteLength; at += PAYLOAD_BYTES_MAX) {
    const value = new Uint8Array(data.subarray(at, at + PAYLOAD_BYTES_MAX));
    yield { frame: { case: "chunk" as const, value } };
  }
}

function mismatch(): NexusError {
  return new NexusError({
    kind: "invalid",
    reason: "PAYLOAD_MISMATCH",
    message: "What came is not the body that the payload refers to.",
  });
}
