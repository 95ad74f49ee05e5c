import { describe, expect, it } from "vitest";
import { decodePageToken, encodePageToken } from "./page-token.ts";

describe("page tokens", () => {
  const values = ["2026-11-22 10:00:00.123456+00", 42, true, null, "ünï/+="] as const;

  it("gives back the values of the same kind", () => {
    const token = encodePageToken("agents", values);
    expect(token).toMatch(/^[A-Za-z0-9_-]+$/);
    expect(decodePageToken("agents", token)).toEqual(values);
  });

  it("reads the empty token as the first page", () => {
    expect(decodePageToken("agents", "")).toBeUndefined();
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
    expect(() => decodePageToken("agents", token)).toThrow(
      expect.objectContaining({ kind: "invalid", reason: "PAGE_TOKEN_INVALID" }),
    );
  });
});
