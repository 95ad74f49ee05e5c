import { describe, expect, it } from "vitest";
import { formatVersioned, tryParseVersioned } from "./versioned-text.ts";

describe("tryParseVersioned", () => {
  it("reads what formatVersioned wrote, of the same kind", () => {
    const text = formatVersioned("nxv", 3, Buffer.from("abc"));
    expect(text).toBe("nxv:v3:YWJj");
    expect(tryParseVersioned("nxv", text)).toEqual({ version: 3, bytes: Buffer.from("abc") });
    expect(tryParseVersioned("nxg", text)).toBeUndefined();
  });

  it("takes one text for one byte string: no padding, no loose bits, no other alphabet", () => {
    for (const text of [
      "nxv:v1:YQ==",
      "nxv:v1:YR",
      "nxv:v1:a+b/",
      "nxv:v1:",
      "nxv:v0:YQ",
      "nxv:v01:YQ",
      "nxv:v9999999999:YQ",
      "nxv:1:YQ",
      "NXV:v1:YQ",
      " nxv:v1:YQ",
      "nxv:v1:YQ\n",
      "",
    ]) {
      expect(tryParseVersioned("nxv", text), JSON.stringify(text)).toBeUndefined();
    }
    expect(tryParseVersioned("nxv", "nxv:v1:YQ")?.bytes.toString()).toBe("a");
  });
});
