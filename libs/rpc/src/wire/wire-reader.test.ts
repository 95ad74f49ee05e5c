import { describe, expect, it } from "vitest";
import { textLength, WireReader } from "./wire-reader.ts";

/** A reader before the value of field 1, a text. */
function readerOf(text: string | Buffer): WireReader {
  const bytes = Buffer.from(text);
  const reader = new WireReader(Buffer.concat([Buffer.from([0x0a, bytes.length]), bytes]));
  reader.next();
  return reader;
}

describe("the text of a field", () => {
  it.each(["", "task_01", "gr\u00fc\u00df", "\u{1f98a}\u{1f98a}"])(
    "is read as it is: %j",
    (text) => {
      expect(readerOf(text).text()).toBe(text);
      expect(readerOf(text).passText()).toBe(Array.from(text).length);
      expect(textLength(Buffer.from(text))).toBe(Array.from(text).length);
    },
  );

  it("is refused unread when it has more bytes than its characters can have", () => {
    const notEvenText = Buffer.alloc(17, 0xff);
    expect(() => readerOf(notEvenText).text(4)).toThrow("field 1 must have at most 4 characters");
    expect(() => readerOf(notEvenText).text(5)).toThrow("a text is not UTF-8");
  });

  it("that is cut off within a character is none", () => {
    expect(() => readerOf(Buffer.from([0xe2, 0x82])).text()).toThrow("a text is not UTF-8");
    expect(() => textLength(Buffer.from([0xe2, 0x82]))).toThrow("a text is not UTF-8");
  });
});
