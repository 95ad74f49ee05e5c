import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { openBox } from "./aead.ts";
import { pbkdf2Sha256 } from "./password-hash.ts";

/** Test vectors of the Wycheproof project, kept beside the repository. Elsewhere these tests are skipped, and say so. */
const VECTORS = join(import.meta.dirname, "../../../../../shared/vectors/wycheproof");

interface VectorFile<G> {
  readonly testGroups: readonly G[];
}

interface Pbkdf2Group {
  readonly tests: readonly {
    readonly tcId: number;
    readonly password: string;
    readonly salt: string;
    readonly iterationCount: number;
    readonly dkLen: number;
    readonly dk: string;
    readonly result: "valid" | "invalid" | "acceptable";
  }[];
}

interface GcmGroup {
  readonly keySize: number;
  readonly ivSize: number;
  readonly tagSize: number;
  readonly tests: readonly {
    readonly tcId: number;
    readonly key: string;
    readonly iv: string;
    readonly aad: string;
    readonly msg: string;
    readonly ct: string;
    readonly tag: string;
    readonly result: "valid" | "invalid" | "acceptable";
  }[];
}

function groups<G>(name: string): readonly G[] {
  return (JSON.parse(readFileSync(join(VECTORS, name), "utf8")) as VectorFile<G>).testGroups;
}

const hex = (text: string) => Buffer.from(text, "hex");
const absent = !existsSync(VECTORS);

describe.skipIf(absent)("Wycheproof (skipped where ../shared/vectors/wycheproof is absent)", () => {
  it("agrees on every PBKDF2-HMAC-SHA256 vector", async () => {
    let count = 0;
    for (const { tests } of groups<Pbkdf2Group>("pbkdf2_hmacsha256_test.json")) {
      for (const test of tests) {
        const derived = await pbkdf2Sha256(hex(test.password), hex(test.salt), {
          iterations: test.iterationCount,
          lengthBytes: test.dkLen,
        });
        expect(derived.toString("hex") === test.dk, `tcId ${test.tcId}`).toBe(
          test.result !== "invalid",
        );
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
});
