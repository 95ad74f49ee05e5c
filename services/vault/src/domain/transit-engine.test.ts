import type { Namespace } from "@nexus/shared";
import { describe, expect, it } from "vitest";
import type { KeyStore } from "./keys/key-store.ts";
import type { KeyType, NamedKey } from "./keys/named-key.ts";
import { TransitEngine } from "./transit-engine.ts";

/** A key at version 1, behind a store that counts how often it is asked for news. */
function setUp(type: KeyType) {
  const key = { type, state: "active", latestVersion: 1, minDecryptionVersion: 1 };
  const state = { refreshes: 0 };
  const keys = {
    get: async () => key as NamedKey,
    refresh: async () => {
      state.refreshes++;
    },
    nowMs: 0,
  };
  return { engine: new TransitEngine(keys as unknown as KeyStore), state };
}

const NAME = { namespace: "default" as Namespace, name: "k" };
const context = { resourceType: "order", resourceId: "7", associatedData: Buffer.of() };

describe("a batch of unknown versions", () => {
  it("asks for news once, however many items claim to be newer", async () => {
    const items = Array.from({ length: 256 }, (_, item) => item + 2);
    const cipher = setUp("envelope");
    const texts = items.map((version) => ({ ciphertext: `nxv:v${version}:YWJj`, context }));
    for (const batch of [
      await cipher.engine.decrypt(NAME, texts),
      await cipher.engine.rewrap(NAME, texts),
    ]) {
      expect(batch.every((end) => "error" in end && end.error.kind === "not_found")).toBe(true);
    }
    expect(cipher.state.refreshes).toBe(2);
    const signer = setUp("ed25519");
    const proofs = items.map((version) => ({ data: Buffer.of(), proof: `nxs:v${version}:YWJj` }));
    await signer.engine.verify(NAME, proofs);
    expect(signer.state.refreshes).toBe(1);
  });
});
