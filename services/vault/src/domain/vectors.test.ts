import { createHash, createHmac } from "node:crypto";
import { inflateSync } from "node:zlib";
import { hasVectors, readVectors } from "@nexus/testkit";
import { describe, expect, it } from "vitest";
import { openBox } from "./aead.ts";
import { EnvelopeOpener, openEnvelope } from "./crypto/envelope.ts";
import { hkdfExpandSha512, hkdfSha512 } from "./crypto/hkdf.ts";
import { unwrapKey, wrapKey } from "./crypto/key-wrap.ts";
import { pbkdf2Sha256 } from "./password-hash.ts";

type Result = "valid" | "invalid" | "acceptable";

interface VectorFile<G> {
  readonly testGroups: readonly G[];
}

interface Group<T> {
  readonly tests: readonly (T & { readonly tcId: number; readonly result: Result })[];
}

interface Pbkdf2 {
  readonly password: string;
  readonly salt: string;
  readonly iterationCount: number;
  readonly dkLen: number;
  readonly dk: string;
}

interface GcmGroup
  extends Group<{
    readonly key: string;
    readonly iv: string;
    readonly aad: string;
    readonly msg: string;
    readonly ct: string;
    readonly tag: string;
  }> {
  readonly keySize: number;
  readonly ivSize: number;
  readonly tagSize: number;
}

interface KwpGroup
  extends Group<{ readonly key: string; readonly msg: string; readonly ct: string }> {
  readonly keySize: number;
}

interface Hkdf {
  readonly ikm: string;
  readonly salt: string;
  readonly info: string;
  readonly size: number;
  readonly okm: string;
}

interface Chunked {
  readonly key: string;
  readonly ctx: string;
  readonly ct: string;
  readonly msgLength: number;
  readonly msgSha512: string;
}

function groups<G>(name: string): readonly G[] {
  return readVectors<VectorFile<G>>(`wycheproof/${name}`).testGroups;
}

const hex = (text: string) => Buffer.from(text, "hex");
const absent = !hasVectors("wycheproof");
const HINT = "skipped without ../shared/vectors/wycheproof, or NEXUS_TEST_VECTORS";

describe.skipIf(absent)(`Wycheproof (${HINT})`, () => {
  it("agrees on every PBKDF2-HMAC-SHA256 vector", async () => {
    let count = 0;
    for (const { tests } of groups<Group<Pbkdf2>>("pbkdf2_hmacsha256_test.json")) {
      for (const test of tests) {
        const derived = await pbkdf2Sha256(hex(test.password), hex(test.salt), {
          iterations: test.iterationCount,
          lengthBytes: test.dkLen,
        });
        const agrees = derived.toString("hex") === test.dk;
        expect(agrees, `tcId ${test.tcId}`).toBe(test.result !== "invalid");
        count++;
      }
    }
    expect(count).toBe(60);
  });

  it("opens every valid AES-256-GCM vector of our sizes, and no other", () => {
    let ours = 0;
    let refused = 0;
    for (const group of groups<GcmGroup>("aes_gcm_test.json")) {
      const fits = group.keySize === 256 && group.ivSize === 96 && group.tagSize === 128;
      if (!fits) continue;
      for (const test of group.tests) {
        const box = Buffer.concat([hex(test.ct), hex(test.iv), hex(test.tag)]);
        const opened = openBox(hex(test.key), box, hex(test.aad));
        const expected = test.result === "valid" ? test.msg : undefined;
        expect(opened?.toString("hex"), `tcId ${test.tcId}`).toBe(expected);
        ours++;
        if (expected === undefined) refused++;
      }
    }
    expect([ours, refused]).toEqual([66, 27]);
  });

  it("opens no AES-GCM vector with an IV of another length", () => {
    let others = 0;
    for (const group of groups<GcmGroup>("aes_gcm_test.json")) {
      if (group.keySize !== 256 || group.ivSize === 96) continue;
      for (const test of group.tests) {
        const box = Buffer.concat([hex(test.ct), hex(test.iv), hex(test.tag)]);
        expect(openBox(hex(test.key), box, hex(test.aad)), `tcId ${test.tcId}`).toBeUndefined();
        others++;
      }
    }
    expect(others).toBeGreaterThan(20);
  });

  it("wraps and unwraps every AES-256-KWP vector as it says, and takes no other key size", () => {
    let ours = 0;
    let refused = 0;
    for (const { keySize, tests } of groups<KwpGroup>("aes_kwp_test.json")) {
      for (const test of tests) {
        const opened = unwrapKey(hex(test.key), hex(test.ct))?.toString("hex");
        const expected = keySize === 256 && test.result === "valid" ? test.msg : undefined;
        expect(opened, `tcId ${test.tcId}`).toBe(expected);
        if (expected !== undefined) {
          expect(wrapKey(hex(test.key), hex(test.msg)).toString("hex")).toBe(test.ct);
        }
        ours++;
        if (expected === undefined) refused++;
      }
    }
    expect(ours).toBe(254);
    expect(refused).toBeGreaterThan(100);
    expect(refused).toBeLessThan(ours);
  });

  it("agrees on every HKDF-SHA512 vector, whole and expanding", () => {
    let count = 0;
    for (const { tests } of groups<Group<Hkdf>>("hkdf_sha512_test.json")) {
      for (const test of tests.filter(({ result }) => result === "valid")) {
        const [key, salt, info] = [hex(test.ikm), hex(test.salt), hex(test.info)];
        const derived = hkdfSha512(key, { salt, info, lengthBytes: test.size });
        expect(derived.toString("hex"), `tcId ${test.tcId}`).toBe(test.okm);
        const prk = extract(salt, key);
        expect(hkdfExpandSha512(prk, info, test.size).toString("hex")).toBe(test.okm);
        count++;
      }
    }
    expect(count).toBeGreaterThan(70);
  });

  it("opens every valid chunked AES-256-GCM vector, whole and in pieces, and no other", () => {
    const counted = { valid: 0, invalid: 0 };
    for (const { tests } of groups<Group<Chunked>>(
      "c2sp_chunked_encryption_aes_256_gcm_test.json",
    )) {
      for (const test of tests) {
        const message = inflateSync(hex(test.ct));
        const opened = openEnvelope(hex(test.key), message, hex(test.ctx));
        const piecewise = openInPieces(hex(test.key), message, hex(test.ctx));
        const isValid = test.result === "valid";
        expect(opened !== undefined, `tcId ${test.tcId}`).toBe(isValid);
        expect(piecewise !== undefined, `tcId ${test.tcId}`).toBe(isValid);
        if (opened !== undefined) {
          expect(piecewise?.equals(opened)).toBe(true);
          expect(opened.byteLength).toBe(test.msgLength);
          expect(createHash("sha512").update(opened).digest("hex")).toBe(test.msgSha512);
        }
        counted[isValid ? "valid" : "invalid"]++;
      }
    }
    expect(counted).toEqual({ valid: 10, invalid: 25 });
  });
});

/** HKDF-Extract (RFC 5869), for the expanding half alone. */
function extract(salt: Buffer, key: Buffer): Buffer {
  return createHmac("sha512", salt.byteLength === 0 ? Buffer.alloc(64) : salt)
    .update(key)
    .digest();
}

/** Pieces that end at no boundary of anything. */
function openInPieces(key: Buffer, message: Buffer, context: Buffer): Buffer | undefined {
  const opener = new EnvelopeOpener(key, context);
  const opened: Buffer[] = [];
  for (let at = 0; at < message.byteLength; at += 4_999) {
    const part = opener.update(message.subarray(at, at + 4_999));
    if (part === undefined) return undefined;
    opened.push(part);
  }
  const last = opener.final();
  return last === undefined ? undefined : Buffer.concat([...opened, last]);
}
