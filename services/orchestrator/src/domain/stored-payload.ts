/** Bodies that are stored apart from the messages that refer to them. */
import { createHash } from "node:crypto";
import { NexusError } from "@nexus/shared";
import { PAYLOAD_PART_BYTES } from "./limits.ts";
import type { Payload } from "./task.ts";

/** Names a body by what it is. */
export interface PayloadReference {
  readonly sha256: Uint8Array;
  readonly sizeBytes: number;
}

/** A job, and a body that one of its tasks refers to. */
export interface PayloadUse extends PayloadReference {
  readonly namespace: string;
  readonly jobId: string;
}

/** Keeps bodies. One for all replicas: they share the database. */
export interface PayloadStore {
  /** Finds a body and keeps it for a while; undefined when the namespace has none of that hash. */
  find(namespace: string, sha256: Uint8Array): Promise<PayloadReference | undefined>;
  /** Bytes that the namespace has stored. */
  usedBytes(namespace: string): Promise<number>;
  /** Begins an upload. */
  beginUpload(): Promise<PayloadUpload>;
  /** Reads one part of a body, counted from 0; undefined behind its end. Errors: not_found/PAYLOAD_NOT_FOUND. */
  readPart(namespace: string, sha256: Uint8Array, position: number): Promise<Buffer | undefined>;
}

/** An upload under way. */
export interface PayloadUpload {
  /** Appends a part: PAYLOAD_PART_BYTES, or less for the last one. */
  append(part: Buffer): Promise<void>;
  /** Makes it a payload. Errors: conflict/UPLOAD_EXPIRED when it took so long that it was removed. */
  commit(namespace: string, reference: PayloadReference): Promise<void>;
  /** Removes what was appended. */
  abandon(): Promise<void>;
}

/** Makes the error for a body that the caller's namespace does not have. */
export function payloadNotFound(): NexusError {
  return new NexusError({
    kind: "not_found",
    reason: "PAYLOAD_NOT_FOUND",
    message: "No body of this SHA-256 and size is stored in this namespace.",
  });
}

const NO_USES: readonly PayloadUse[] = [];

/** The bodies that payloads refer to, each once. */
export function usesOf(
  home: { readonly namespace: string; readonly jobId: string },
  payloads: readonly (Payload | undefined)[],
): readonly PayloadUse[] {
  // Most refer to none.
  if (!payloads.some(isStoredApart)) return NO_USES;
  const uses = new Map<string, PayloadUse>();
  for (const payload of payloads) {
    if (payload?.storedBytes === undefined) continue;
    const { data: sha256, storedBytes: sizeBytes } = payload;
    const { namespace, jobId } = home;
    const key = `${Buffer.from(sha256).toString("hex")}:${sizeBytes}`;
    uses.set(key, { namespace, jobId, sha256, sizeBytes });
  }
  return [...uses.values()];
}

function isStoredApart(payload: Payload | undefined): boolean {
  return payload?.storedBytes !== undefined;
}

/** Cuts what comes into parts of one size, and checks it against what was announced.
 *
 * Yields buffers that are the receiver's own. Errors: invalid/PAYLOAD_MISMATCH, as soon as too much has come, or at the end. */
export async function* cutIntoParts(
  chunks: AsyncIterable<Uint8Array>,
  { sha256, sizeBytes }: PayloadReference,
): AsyncGenerator<Buffer, void> {
  const hash = createHash("sha256");
  let part = Buffer.allocUnsafe(Math.min(PAYLOAD_PART_BYTES, sizeBytes));
  let filled = 0;
  let total = 0;
  for await (const chunk of chunks) {
    total += chunk.byteLength;
    if (total > sizeBytes) throw payloadMismatch(`More than ${sizeBytes} bytes came.`);
    hash.update(chunk);
    for (let at = 0; at < chunk.byteLength; ) {
      const piece = chunk.subarray(at, at + part.byteLength - filled);
      part.set(piece, filled);
      filled += piece.byteLength;
      at += piece.byteLength;
      if (filled < part.byteLength) continue;
      yield part;
      part = Buffer.allocUnsafe(Math.min(PAYLOAD_PART_BYTES, sizeBytes));
      filled = 0;
    }
  }
  if (total < sizeBytes) throw payloadMismatch(`${total} of ${sizeBytes} bytes came.`);
  if (!hash.digest().equals(sha256)) throw payloadMismatch("The bytes have another SHA-256.");
  if (filled > 0) yield part.subarray(0, filled);
}

function payloadMismatch(message: string): NexusError {
  return new NexusError({ kind: "invalid", reason: "PAYLOAD_MISMATCH", message });
}
