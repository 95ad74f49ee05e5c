import { randomBytes } from "node:crypto";
import { describe, expect, it } from "vitest";
import type { RootKeys } from "./root-key.ts";
import { SecureVault, type SecureVaultOptions } from "./secure-vault.ts";

/** A vault over a database whose tenant keys answer when the test says so. */
function setUp(over: Partial<SecureVaultOptions> = {}) {
  const answers: ((fits: boolean) => void)[] = [];
  const sealed: boolean[] = [];
  const keyring = {
    fits: () => new Promise<boolean>((resolve) => answers.push(resolve)),
    exists: async () => true,
    close() {},
  };
  const options = {
    provider: undefined,
    recoveryPrivateKey: async () => undefined,
    seals: {
      isSealed: async () => false,
      setSealed: async (value: boolean) => {
        sealed.push(value);
      },
    },
    keyring,
    crypto: { close() {} },
    parts: [],
    events: {
      sealed() {},
      unsealed() {},
      recoveryMissing() {},
      keysRewrapped() {},
      tenantKeysUnreadable() {},
    },
    onChange() {},
    ...over,
  };
  return { vault: new SecureVault(options as unknown as SecureVaultOptions), answers, sealed };
}

describe("SecureVault", () => {
  it("lets nobody without the root key hold a seal up, however many try", async () => {
    const { vault, answers, sealed } = setUp();
    const tries = Array.from({ length: 50 }, () => vault.unseal(randomBytes(32)));
    const ended = Promise.allSettled(tries);
    await vault.seal();
    expect(sealed).toEqual([true]);
    for (const answer of answers) answer(false);
    expect(new Set((await ended).map(({ status }) => status))).toEqual(new Set(["rejected"]));
    expect(sealed).toEqual([true]);
  });

  it("is behind a seal, an unsealing and a newer key of its own boxes", async () => {
    const boxKeys = { isOpen: true, boxKeyVersion: 2, close: () => undefined };
    const { vault } = setUp({ crypto: boxKeys } as unknown as Partial<SecureVaultOptions>);
    const open = { isSealed: false, boxKeyVersion: 2 };
    // Without a root key it is tried again each time.
    expect(vault.isBehind(open)).toBe(true);
    expect(vault.isBehind({ ...open, isSealed: true })).toBe(true);
    await vault.seal();
    expect(vault.isBehind({ ...open, isSealed: true })).toBe(false);
    expect(vault.isBehind(open)).toBe(true);
  });

  it("forgets the root key when the recovery key cannot be read", async () => {
    let closed = 0;
    const root = { source: "file", close: () => closed++ } as unknown as RootKeys;
    const unsafe = new Error("loose mode");
    const { vault } = setUp({
      provider: async () => root,
      recoveryPrivateKey: () => Promise.reject(unsafe),
    });
    await expect(vault.start()).rejects.toThrow(unsafe);
    expect(closed).toBe(1);
  });
});
