import { describe, expect, it } from "vitest";
import { readVarints, textLength, WireReader } from "./wire-reader.ts";
import { WireWriter } from "./wire-writer.ts";

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

describe("a value like one that is known", () => {
  it.each([
    ["", ""],
    ["task_01", "task_01"],
  ])("is passed over when it is the same: %j", (value, known) => {
    for (const pass of [
      (reader: WireReader) => reader.passSameText(known),
      (reader: WireReader) => reader.passSame(Buffer.from(known)),
    ]) {
      const reader = readerOf(value);
      expect(pass(reader)).toBe(true);
      expect(reader.atEnd).toBe(true);
    }
  });

  it.each([
    ["task_01", "task_02"],
    ["task_01", "task_0"],
    ["", "t"],
    ["t", ""],
  ])("stays to be read when it is another one: %j, not %j", (value, known) => {
    const reader = readerOf(value);
    expect(reader.passSameText(known)).toBe(false);
    expect(reader.passSame(Buffer.from(known))).toBe(false);
    expect(reader.text()).toBe(value);
  });

  it("is no text because it has the numbers of its characters", () => {
    const reader = readerOf(Buffer.from([0xfc]));
    expect(reader.passSameText("\u00fc")).toBe(false);
    expect(() => reader.text()).toThrow("a text is not UTF-8");
  });

  it("that is cut off is none", () => {
    const reader = new WireReader(Buffer.from([0x0a, 3, 0x61, 0x62]));
    reader.next();
    expect(reader.passSameText("abc")).toBe(false);
    expect(reader.passSame(Buffer.from("abc"))).toBe(false);
    expect(() => reader.text()).toThrow();
  });
});

describe("readVarints", () => {
  it("reads what a writer wrote, number by number", () => {
    const numbers = [0, 1, 127, 128, 16_383, 16_384, 2 ** 32, 2 ** 49 - 1, 5];
    const writer = new WireWriter();
    for (const number of numbers) writer.varint(number);
    expect(readVarints(writer.take())).toEqual(numbers);
    expect(readVarints(Buffer.alloc(0))).toEqual([]);
  });

  it.each([
    ["cut off", [5, 0x80]],
    ["too long", [0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 1]],
  ])("refuses a number that is %s", (what, bytes) => {
    expect(() => readVarints(Buffer.from(bytes))).toThrow(`a number is ${what}`);
  });
});
