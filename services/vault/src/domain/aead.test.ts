import { randomBytes } from "node:crypto";
import { describe, expect, it } from "vitest";
import { openBox, sealBox } from "./aead.ts";

const KEY = randomBytes(32);
const TEXT = Buffer.from("a private key");

describe("sealBox", () => {
  it("opens with the same key and name only", () => {
    const box = sealBox(KEY, TEXT, "signing-key/1");
    expect(openBox(KEY, box, "signing-key/1")).toEqual(TEXT);
    expect(openBox(KEY, box, "signing-key/2")).toBeUndefined();
    expect(openBox(randomBytes(32), box, "signing-key/1")).toBeUndefined();
  });

  it("lays the box out as ciphertext, 12 bytes IV, 16 bytes tag and never repeats an IV", () => {
    const boxes = Array.from({ length: 100 }, () => sealBox(KEY, TEXT, "x"));
    expect(boxes[0]?.byteLength).toBe(TEXT.byteLength + 12 + 16);
    const ivs = boxes.map((box) =>
      box.subarray(TEXT.byteLength, TEXT.byteLength + 12).toString("hex"),
    );
    expect(new Set(ivs).size).toBe(100);
  });

  it("refuses a change of any bit, a cut and a truncated tag", () => {
    const box = sealBox(KEY, TEXT, "x");
    for (let bit = 0; bit < box.byteLength * 8; bit++) {
      const changed = Buffer.from(box);
      changed.writeUInt8(changed.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3);
      expect(openBox(KEY, changed, "x"), `bit ${bit}`).toBeUndefined();
    }
    for (let cut = 1; cut <= box.byteLength; cut++) {
      expect(openBox(KEY, box.subarray(0, -cut), "x"), `cut ${cut}`).toBeUndefined();
    }
  });
});
