import { describe, expect, it } from "vitest";
import { WireReader } from "./wire-reader.ts";
import { WireWriter } from "./wire-writer.ts";

const TEXTS = ["", "a", "x".repeat(24), "x".repeat(25), "ü", `${"x".repeat(23)}ü`, "😀".repeat(12)];
/** Lone halves of a pair are written as U+FFFD. */
const LONE = "x\ud800";

describe("WireWriter", () => {
  it.each(TEXTS)("writes the text %j as its bytes, whatever its length and alphabet", (text) => {
    const writer = new WireWriter();
    writer.text(1, "before");
    writer.sizedText(text);
    const bytes = Buffer.from(text);
    const before = [0x0a, 6, ...Buffer.from("before")];
    expect(writer.take()).toEqual(Buffer.from([...before, bytes.length, ...bytes]));
  });

  it("leaves an empty text out, and writes what is no text as one", () => {
    const writer = new WireWriter();
    writer.text(1, "");
    writer.text(2, LONE);
    expect(writer.take()).toEqual(Buffer.from([0x12, 4, 0x78, 0xef, 0xbf, 0xbd]));
  });

  it("writes short texts beyond the end of its first buffer", () => {
    const writer = new WireWriter();
    const texts = Array.from({ length: 20_000 }, (_, index) => `number-${index}`);
    for (const text of texts) writer.text(1, text);
    const reader = new WireReader(writer.take());
    const read: string[] = [];
    while (reader.next()) read.push(reader.text());
    expect(read).toEqual(texts);
  });
});
