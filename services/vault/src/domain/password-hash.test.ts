import { describe, expect, it } from "vitest";
import {
  dummyPasswordHash,
  hashPassword,
  isBelowPolicy,
  matchesPassword,
  tryParsePasswordHash,
} from "./password-hash.ts";

const FEW = 1000;

describe("hashPassword", () => {
  it("writes a PHC string that only the password matches", async () => {
    const phc = await hashPassword("correct horse", FEW);
    expect(phc).toMatch(/^\$pbkdf2-sha256\$i=1000,l=32\$[A-Za-z0-9+/]{22}\$[A-Za-z0-9+/]{43}$/);
    expect(await matchesPassword(phc, "correct horse")).toBe(true);
    expect(await matchesPassword(phc, "correct horsE")).toBe(false);
    expect(await matchesPassword(phc, "")).toBe(false);
  });

  it("salts every hash anew", async () => {
    expect(await hashPassword("same", FEW)).not.toBe(await hashPassword("same", FEW));
  });

  it("takes two Unicode spellings of one password for the same", async () => {
    const phc = await hashPassword("Caf\u00e9 \ufb01ne", FEW);
    expect(await matchesPassword(phc, "Cafe\u0301 fine")).toBe(true);
  });
});

describe("tryParsePasswordHash", () => {
  it("refuses everything that hashPassword did not write", async () => {
    const phc = await hashPassword("x", FEW);
    const bad = [
      "",
      "plain",
      phc.replace("sha256", "sha1"),
      phc.replace("i=1000", "i=0"),
      phc.replace("i=1000", "i=999999999"),
      phc.replace("l=32", "l=16"),
      phc.slice(0, -1),
      `${phc}A`,
      `${phc}\n`,
    ];
    for (const text of bad) expect(tryParsePasswordHash(text), text).toBeUndefined();
    expect(await matchesPassword("plain", "plain")).toBe(false);
  });
});

describe("isBelowPolicy", () => {
  it("asks for a new hash when the stored one has fewer iterations", async () => {
    const phc = await hashPassword("x", FEW);
    expect(isBelowPolicy(phc, FEW)).toBe(false);
    expect(isBelowPolicy(phc, FEW + 1)).toBe(true);
  });
});

describe("dummyPasswordHash", () => {
  it("costs as much as a real hash and matches nothing", async () => {
    const dummy = dummyPasswordHash(FEW);
    expect(tryParsePasswordHash(dummy)?.iterations).toBe(FEW);
    expect(await matchesPassword(dummy, "")).toBe(false);
  });
});
