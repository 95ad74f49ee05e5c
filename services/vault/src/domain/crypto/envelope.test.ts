import { randomBytes } from "node:crypto";
import { describe, expect, it } from "vitest";
import {
  CHUNK_BYTES,
  EnvelopeSealer,
  envelopeBytes,
  openEnvelope,
  sealEnvelope,
} from "./envelope.ts";

const KEY = randomBytes(32);
const CONTEXT = Buffer.from("order 7");

describe("sealEnvelope", () => {
  it("opens with its key and context only, at every length around a chunk", () => {
    for (const length of [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 2 * CHUNK_BYTES]) {
      const plaintext = randomBytes(length);
      const sealed = sealEnvelope(KEY, plaintext, CONTEXT);
      const chunks = Math.floor(length / CHUNK_BYTES) + 1;
      expect(sealed.byteLength).toBe(56 + length + 16 * chunks);
      expect(envelopeBytes(length)).toBe(sealed.byteLength);
      expect(openEnvelope(KEY, sealed, CONTEXT)).toEqual(plaintext);
      expect(openEnvelope(randomBytes(32), sealed, CONTEXT)).toBeUndefined();
      expect(openEnvelope(KEY, sealed, Buffer.from("order 8"))).toBeUndefined();
    }
  });

  it("refuses a change of any bit and a cut at any place", () => {
    const sealed = sealEnvelope(KEY, Buffer.from("a secret"), CONTEXT);
    for (let bit = 0; bit < sealed.byteLength * 8; bit++) {
      const changed = Buffer.from(sealed);
      changed.writeUInt8(changed.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3);
      expect(openEnvelope(KEY, changed, CONTEXT), `bit ${bit}`).toBeUndefined();
    }
    for (let cut = 1; cut <= sealed.byteLength; cut++) {
      expect(openEnvelope(KEY, sealed.subarray(0, -cut), CONTEXT), `cut ${cut}`).toBeUndefined();
    }
  });

  it("refuses chunks that are missing, doubled or in another order", () => {
    const sealed = sealEnvelope(KEY, randomBytes(2 * CHUNK_BYTES + 100), CONTEXT);
    const size = CHUNK_BYTES + 16;
    const header = sealed.subarray(0, 56);
    const [first, second, last] = [0, 1, 2].map((chunk) =>
      sealed.subarray(56 + chunk * size, 56 + (chunk + 1) * size),
    ) as [Buffer, Buffer, Buffer];
    expect(openEnvelope(KEY, Buffer.concat([header, first, second, last]), CONTEXT)).toBeDefined();
    for (const chunks of [
      [first, second],
      [first, last],
      [second, first, last],
      [first, first, last],
    ]) {
      expect(openEnvelope(KEY, Buffer.concat([header, ...chunks]), CONTEXT)).toBeUndefined();
    }
  });

  it("encrypts nothing with what is left of a key that was forgotten", () => {
    const sealer = new EnvelopeSealer(KEY, CONTEXT);
    sealer.update(Buffer.from("a secret"));
    sealer.close();
    expect(() => sealer.final()).toThrow("forgotten");
    expect(() => sealer.update(Buffer.alloc(CHUNK_BYTES))).toThrow("forgotten");
  });

  it("never repeats a salt, and gives the same bytes however the message was cut", () => {
    const salts = Array.from({ length: 100 }, () =>
      sealEnvelope(KEY, Buffer.of(), CONTEXT).subarray(0, 24).toString("hex"),
    );
    expect(new Set(salts).size).toBe(100);
    const plaintext = randomBytes(3 * CHUNK_BYTES);
    const sealer = new EnvelopeSealer(KEY, CONTEXT);
    const parts = [sealer.header];
    for (let at = 0; at < plaintext.byteLength; at += 777) {
      parts.push(sealer.update(plaintext.subarray(at, at + 777)));
    }
    parts.push(sealer.final());
    expect(openEnvelope(KEY, Buffer.concat(parts), CONTEXT)).toEqual(plaintext);
  });
});
