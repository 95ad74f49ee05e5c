import { describe, expect, it } from "vitest";
import { decodePageToken, encodePageToken } from "./page-token.ts";

describe("page tokens", () => {
  const values = [
    "2026-11-22 10:00:00.123456+00",
    42,
    "9223372036854775807",
    "0198a000-0000-7000-8000-0000000000aa",
    "ünï/+=",
  ] as const;
  const types = ["moment", "integer", "bigint", "uuid", "text"] as const;

  it("gives back the values of the same kind", () => {
    const token = encodePageToken("agents", values);
    expect(token).toMatch(/^[A-Za-z0-9_-]+$/);
    expect(decodePageToken("agents", token, types)).toEqual(values);
  });

  it("reads the empty token as the first page", () => {
    expect(decodePageToken("agents", "", types)).toBeUndefined();
  });

  const good = encodePageToken("agents", values);
  const unsigned = Buffer.from(JSON.stringify(["agents", 1])).toString("base64url");
  it.each([
    ["a token of another kind", encodePageToken("jobs", values)],
    ["text that is no token", "hello world!"],
    [
      "one changed character",
      `${good.slice(0, 20)}${good[20] === "A" ? "B" : "A"}${good.slice(21)}`,
    ],
    ["a cut token", good.slice(0, -4)],
    ["a token without checksum", unsigned],
    ["an endless token", "A".repeat(5000)],
  ])("refuses %s", (_what, token) => {
    expect(() => decodePageToken("agents", token, types)).toThrow(
      expect.objectContaining({ kind: "invalid", reason: "PAGE_TOKEN_INVALID" }),
    );
  });

  it.each([
    ["no moment", "moment", "yesterday"],
    ["a day that no month has", "moment", "2026-02-30 10:00:00+00"],
    ["a number for a moment", "moment", 0],
    ["an offset that no place has", "moment", "2026-02-03 10:00:00+16"],
    ["half an integer", "integer", 0.5],
    ["too large an integer", "integer", 2_147_483_648],
    ["text for an integer", "integer", "1"],
    ["too large a bigint", "bigint", "9223372036854775808"],
    ["no bigint", "bigint", "1e3"],
    ["no uuid", "uuid", "0198a000"],
    ["text with NUL", "text", "a\0"],
    ["nothing for text", "text", null],
  ] as const)("refuses %s, whatever its checksum", (_what, type, value) => {
    const token = encodePageToken("agents", [value]);
    expect(() => decodePageToken("agents", token, [type])).toThrow(
      expect.objectContaining({ reason: "PAGE_TOKEN_INVALID" }),
    );
  });

  it("refuses more values, or fewer, than the listing has", () => {
    const token = encodePageToken("agents", ["a"]);
    for (const some of [[], ["text", "text"]] as const) {
      expect(() => decodePageToken("agents", token, some)).toThrow();
    }
  });
});
