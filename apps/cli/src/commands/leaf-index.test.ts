import { randomInt } from "node:crypto";
import { create, toBinary } from "@bufbuild/protobuf";
import { BinaryReader, BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { AuditEntrySchema } from "@nexus/proto/common";
import { describe, expect, it } from "vitest";
import { INDEX_FIELD, ownIndexOf } from "./leaf-index.ts";

const INDEX = AuditEntrySchema.field.index.number;
const encode = (index: bigint) =>
  toBinary(
    AuditEntrySchema,
    create(AuditEntrySchema, {
      service: "vault",
      count: 7,
      index,
      fields: [{ name: "a", value: "b".repeat(200) }],
      time: { seconds: 1_700_000_000n, nanos: 5 },
    }),
  );

describe("ownIndexOf", () => {
  it("knows the field of the contract", () => {
    expect(INDEX_FIELD).toBe(INDEX);
  });

  it("finds what the encoder wrote, whatever its size", () => {
    for (const index of [0n, 1n, 127n, 128n, 300_000n, 2n ** 32n, 2n ** 53n - 1n]) {
      expect(ownIndexOf(encode(index))).toBe(Number(index));
    }
    expect(ownIndexOf(new Uint8Array())).toBe(0);
  });

  it("takes the last of several, as every reader of the message does", () => {
    expect(ownIndexOf(Buffer.concat([encode(5n), encode(9n)]))).toBe(9);
  });

  it("passes over fields of all kinds that it does not know", () => {
    const strange = new BinaryWriter()
      .tag(100, WireType.Bit64)
      .fixed64(1n)
      .tag(101, WireType.Bit32)
      .fixed32(1)
      .tag(500_000_000, WireType.Varint)
      .uint64(2n ** 64n - 1n)
      .tag(INDEX, WireType.LengthDelimited)
      .bytes(Uint8Array.of(1))
      .tag(102, WireType.StartGroup)
      .tag(102, WireType.EndGroup);
    expect(ownIndexOf(Buffer.concat([encode(5n), strange.finish()]))).toBe(5);
    const huge = new BinaryWriter()
      .tag(INDEX, WireType.Varint)
      .uint64(2n ** 64n - 1n)
      .finish();
    expect(ownIndexOf(huge)).toBe(Number(2n ** 64n - 1n));
  });

  it("reads what the general reader reads, whatever the bytes", () => {
    const reference = (leaf: Uint8Array): number | undefined => {
      let index = 0;
      try {
        const reader = new BinaryReader(leaf);
        while (reader.pos < reader.len) {
          const [field, type] = reader.tag();
          if (field === INDEX && type === WireType.Varint) index = Number(reader.uint64());
          else reader.skip(type);
        }
        return index;
      } catch {
        return undefined;
      }
    };
    const whole = encode(300_000n);
    for (let round = 0; round < 5_000; round++) {
      const bytes = Buffer.from(whole);
      for (let change = round % 4; change >= 0; change--) {
        bytes[randomInt(bytes.length)] = randomInt(256);
      }
      const leaf = bytes.subarray(0, bytes.length - (round % 3));
      expect(ownIndexOf(leaf), leaf.toString("hex")).toBe(reference(leaf));
    }
  });

  it("has nothing to say of bytes that are no entry", () => {
    expect(ownIndexOf(encode(5n).subarray(0, -1))).toBeUndefined();
    expect(ownIndexOf(Buffer.of(0x0a, 5, 1))).toBeUndefined();
    expect(ownIndexOf(Buffer.of(0x0f))).toBeUndefined();
  });
});
