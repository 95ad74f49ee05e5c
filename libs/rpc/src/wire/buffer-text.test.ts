import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { StringValueSchema } from "@bufbuild/protobuf/wkt";
import { describe, expect, it } from "vitest";
import { useBufferText } from "./buffer-text.ts";

useBufferText();

function roundTrip(value: string): string {
  return fromBinary(
    StringValueSchema,
    toBinary(StringValueSchema, create(StringValueSchema, { value })),
  ).value;
}

/** A StringValue whose text is these bytes. */
function encoded(...bytes: number[]): Uint8Array {
  return Uint8Array.from([0x0a, bytes.length, ...bytes]);
}

describe("text in messages", () => {
  it.each(["", "task_01", "gr\u00fc\u00df dich", "\u{1f98a}", "\ufffd", "a".repeat(10_000)])(
    "%j comes back as it went",
    (text) => {
      expect(roundTrip(text)).toBe(text);
    },
  );

  it("refuses bytes that are no text, as proto3 demands", () => {
    expect(() => fromBinary(StringValueSchema, encoded(0xff, 0xfe))).toThrow();
    expect(() => fromBinary(StringValueSchema, encoded(0xe2, 0x82))).toThrow();
  });

  it("takes a replacement character for what it is", () => {
    expect(fromBinary(StringValueSchema, encoded(0xef, 0xbf, 0xbd)).value).toBe("\ufffd");
  });
});
