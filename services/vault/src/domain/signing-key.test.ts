import { describe, expect, it } from "vitest";
import type { SigningKeyRow, SigningKeyState } from "./signing-key.ts";
import { isRotationDue, promotionDelayMs } from "./signing-key.ts";

const POLICY = { rotateAfterMs: 1000, overlapMs: 100 };

const key = (
  state: SigningKeyState,
  publishedAtMs: number,
  activatedAtMs?: number,
): SigningKeyRow => ({
  kid: state,
  state,
  publicJwk: {},
  privateBox: undefined,
  publishedAtMs,
  activatedAtMs,
});

describe("isRotationDue", () => {
  it("needs an old signer and a next key that was published for the overlap", () => {
    const check = (activatedAtMs: number, publishedAtMs: number, due: boolean) =>
      expect(
        isRotationDue([key("current", 0, activatedAtMs), key("next", publishedAtMs)], 2000, POLICY),
      ).toBe(due);
    check(1000, 1900, true);
    check(1001, 1900, false);
    check(1000, 1901, false);
  });

  it("is never due without both keys", () => {
    expect(isRotationDue([key("current", 0, 0)], 9e9, POLICY)).toBe(false);
    expect(isRotationDue([key("next", 0)], 9e9, POLICY)).toBe(false);
    expect(isRotationDue([], 9e9, POLICY)).toBe(false);
  });
});

describe("promotionDelayMs", () => {
  it("counts down the overlap", () => {
    expect(promotionDelayMs(key("next", 1000), 1040, POLICY)).toBe(60);
    expect(promotionDelayMs(key("next", 1000), 1100, POLICY)).toBe(0);
    expect(promotionDelayMs(key("next", 1000), 9000, POLICY)).toBe(0);
  });
});
