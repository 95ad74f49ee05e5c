import { createHash } from "node:crypto";
import { describe, expect, it } from "vitest";
import { PAYLOAD_PART_BYTES } from "./limits.ts";
import { cutIntoParts, usesOf } from "./stored-payload.ts";

function referenceTo(body: Uint8Array) {
  return { sha256: createHash("sha256").update(body).digest(), sizeBytes: body.byteLength };
}

async function* chunksOf(body: Uint8Array, sizes: readonly number[]) {
  await Promise.resolve();
  let at = 0;
  for (let i = 0; at < body.byteLength; i += 1) {
    const size = sizes[i % sizes.length] as number;
    yield body.subarray(at, at + size);
    at += size;
  }
}

async function partsOf(body: Uint8Array, announced = referenceTo(body), sizes = [70_000, 1, 9]) {
  const parts: Buffer[] = [];
  for await (const part of cutIntoParts(chunksOf(body, sizes), announced)) parts.push(part);
  return parts;
}

function bytes(length: number): Buffer {
  return Buffer.from(Uint8Array.from({ length }, (_, index) => (index * 31) % 251));
}

describe("cutIntoParts", () => {
  it.each([1, PAYLOAD_PART_BYTES - 1, PAYLOAD_PART_BYTES, PAYLOAD_PART_BYTES + 1, 2_500_000])(
    "cuts %i bytes into parts of one size, however they come",
    async (length) => {
      const body = bytes(length);
      const parts = await partsOf(body);
      expect(Buffer.concat(parts).equals(body)).toBe(true);
      const full = parts.slice(0, -1).every((part) => part.byteLength === PAYLOAD_PART_BYTES);
      expect([full, parts.length]).toEqual([true, Math.ceil(length / PAYLOAD_PART_BYTES)]);
    },
  );

  it("cuts a chunk that is larger than a part", async () => {
    const body = bytes(3 * PAYLOAD_PART_BYTES);
    expect(await partsOf(body, referenceTo(body), [body.byteLength])).toHaveLength(3);
  });

  it("refuses more than was announced, less, and something else", async () => {
    const body = bytes(100);
    const { sha256 } = referenceTo(body);
    const mismatch = { kind: "invalid", reason: "PAYLOAD_MISMATCH" };
    await expect(partsOf(body, { sha256, sizeBytes: 99 })).rejects.toMatchObject(mismatch);
    await expect(partsOf(body, { sha256, sizeBytes: 101 })).rejects.toMatchObject(mismatch);
    const other = referenceTo(bytes(99)).sha256;
    await expect(partsOf(body, { sha256: other, sizeBytes: 100 })).rejects.toMatchObject(mismatch);
  });
});

describe("usesOf", () => {
  it("names each stored body once, and no other", () => {
    const home = { namespace: "default", jobId: "job_1" };
    const stored = { contentType: "a/b", data: new Uint8Array(32), storedBytes: 9 };
    const inline = { contentType: "a/b", data: new Uint8Array(32) };
    const uses = usesOf(home, [stored, undefined, inline, { ...stored, contentType: "c/d" }]);
    expect(uses).toEqual([{ ...home, sha256: stored.data, sizeBytes: 9 }]);
  });
});
