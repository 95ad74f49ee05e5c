import { createSecretKey, randomBytes } from "node:crypto";
import { describe, expect, it } from "vitest";
import {
  dummyPasswordHash,
  hashPassword,
  isBelowPolicy,
  isCheckable,
  matchesPassword,
  tryParsePasswordHash,
} from "./password-hash.ts";

const FEW = 1000;

describe("hashPassword", () => {
  it("writes a PHC string that only the password matches", async () => {
    const phc = await hashPassword("correct horse", { iterations: FEW });
    expect(phc).toMatch(/^\$pbkdf2-sha256\$i=1000,l=32\$[A-Za-z0-9+/]{22}\$[A-Za-z0-9+/]{43}$/);
    expect(await matchesPassword(phc, "correct horse")).toBe(true);
    expect(await matchesPassword(phc, "correct horsE")).toBe(false);
    expect(await matchesPassword(phc, "")).toBe(false);
  });

  it("salts every hash anew", async () => {
    expect(await hashPassword("same", { iterations: FEW })).not.toBe(
      await hashPassword("same", { iterations: FEW }),
    );
  });

  it("takes two Unicode spellings of one password for the same", async () => {
    const phc = await hashPassword("Caf\u00e9 \ufb01ne", { iterations: FEW });
    expect(await matchesPassword(phc, "Cafe\u0301 fine")).toBe(true);
  });
});

describe("a pepper", () => {
  const pepperOf = (version: number) => ({ version, key: createSecretKey(randomBytes(32)) });
  const pepper = pepperOf(1);

  it("is needed to check what was hashed with it, and only that", async () => {
    const phc = await hashPassword("x", { iterations: FEW, pepper });
    expect(phc).toMatch(/^\$pbkdf2-sha256\$i=1000,l=32,k=1\$/);
    expect(await matchesPassword(phc, "x", pepper)).toBe(true);
    expect(await matchesPassword(phc, "y", pepper)).toBe(false);
    expect(await matchesPassword(phc, "x")).toBe(false);
    expect(await matchesPassword(phc, "x", pepperOf(1))).toBe(false);
    expect(await matchesPassword(phc, "x", { ...pepper, version: 2 })).toBe(false);
    expect(await matchesPassword(phc.replace(",k=1", ""), "x", pepper)).toBe(false);
    const plain = await hashPassword("x", { iterations: FEW });
    expect(await matchesPassword(plain, "x", pepper)).toBe(true);
    expect(await matchesPassword(plain.replace("l=32", "l=32,k=1"), "x", pepper)).toBe(false);
  });

  it("is named by its version in the hash, and no other one checks it", async () => {
    const newest = pepperOf(999);
    const phc = await hashPassword("x", { iterations: FEW, pepper: newest });
    expect(tryParsePasswordHash(phc)?.pepper).toBe(999);
    expect(await matchesPassword(phc, "x", newest)).toBe(true);
    expect([
      isCheckable(phc, newest),
      isCheckable(phc, pepper),
      isCheckable(phc, undefined),
    ]).toEqual([true, false, false]);
  });

  it("puts a hash without it, or with an earlier one, below policy, and one with a later not", async () => {
    const plain = await hashPassword("x", { iterations: FEW });
    const peppered = await hashPassword("x", { iterations: FEW, pepper });
    expect(isBelowPolicy(plain, { iterations: FEW, pepper })).toBe(true);
    expect(isBelowPolicy(peppered, { iterations: FEW, pepper })).toBe(false);
    expect(isBelowPolicy(peppered, { iterations: FEW, pepper: pepperOf(2) })).toBe(true);
    const later = await hashPassword("x", { iterations: FEW, pepper: pepperOf(2) });
    expect(isBelowPolicy(later, { iterations: FEW, pepper })).toBe(false);
    // More iterations are no reason to take the later pepper back.
    expect(isBelowPolicy(later, { iterations: FEW + 1, pepper })).toBe(false);
    expect(isBelowPolicy("plain", { iterations: FEW })).toBe(true);
  });
});

describe("tryParsePasswordHash", () => {
  it("refuses everything that hashPassword did not write", async () => {
    const phc = await hashPassword("x", { iterations: FEW });
    const bad = [
      "",
      "plain",
      phc.replace("sha256", "sha1"),
      phc.replace("i=1000", "i=0"),
      phc.replace("i=1000", "i=999999999"),
      phc.replace("l=32", "l=16"),
      phc.replace("l=32", "l=32,k=0"),
      phc.replace("l=32", "l=32,k=1000"),
      phc.replace("l=32", "l=32,k=01"),
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
    const phc = await hashPassword("x", { iterations: FEW });
    expect(isBelowPolicy(phc, { iterations: FEW })).toBe(false);
    expect(isBelowPolicy(phc, { iterations: FEW + 1 })).toBe(true);
  });
});

describe("dummyPasswordHash", () => {
  it("costs as much as a real hash and matches nothing", async () => {
    const dummy = dummyPasswordHash(FEW, 7);
    expect(tryParsePasswordHash(dummy)).toMatchObject({ iterations: FEW, pepper: 7 });
    expect(await matchesPassword(dummy, "")).toBe(false);
  });
});
