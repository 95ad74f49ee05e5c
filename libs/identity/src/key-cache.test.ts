import { describe, expect, it } from "vitest";
import { clockAtNow, createFakeJwks, newKey, silent } from "../test/_helpers.ts";
import {
  createKeyCache,
  FETCH_RETRY_MS,
  importJwks,
  UNKNOWN_KEY_COOLDOWN_MS,
} from "./key-cache.ts";

async function setup() {
  const clock = clockAtNow();
  const jwks = createFakeJwks([await newKey("k1")]);
  const keys = createKeyCache({ fetch: () => jwks.fetch(), clock, logger: silent });
  return { clock, jwks, keys };
}

describe("createKeyCache", () => {
  it("shares one fetch between concurrent lookups of an unknown key", async () => {
    const { keys, jwks } = await setup();
    const found = await Promise.all(Array.from({ length: 20 }, () => keys.find("k1")));
    expect(found.every((key) => key !== undefined)).toBe(true);
    expect(jwks.calls).toBe(1);
  });

  it("asks again for unknown keys at most once per cooldown", async () => {
    const { keys, jwks, clock } = await setup();
    await keys.find("k1");
    for (let i = 0; i < 50; i++) expect(await keys.find(`forged-${i}`)).toBeUndefined();
    expect(jwks.calls).toBe(1);
    clock.advance(UNKNOWN_KEY_COOLDOWN_MS);
    jwks.keys = [...jwks.keys, await newKey("k2")];
    expect(await keys.find("k2")).toBeDefined();
    expect(jwks.calls).toBe(2);
  });

  it("keeps answering known keys while vault is away, and says unavailable when it never had any", async () => {
    const { keys, jwks, clock } = await setup();
    jwks.down = true;
    await expect(keys.find("k1")).rejects.toMatchObject({
      kind: "unavailable",
      reason: "IDENTITY_UNAVAILABLE",
    });
    await expect(keys.find("k1")).rejects.toMatchObject({ reason: "IDENTITY_UNAVAILABLE" });
    expect(jwks.calls).toBe(1);
    jwks.down = false;
    clock.advance(FETCH_RETRY_MS);
    expect(await keys.find("k1")).toBeDefined();
    jwks.down = true;
    clock.advance(3_600_000);
    expect(await keys.find("k1")).toBeDefined();
    expect(await keys.find("k2")).toBeUndefined();
  });

  it("asks at once for an unknown key when the set is past its max age", async () => {
    const { keys, jwks, clock } = await setup();
    jwks.maxAgeSeconds = 1;
    await keys.find("k1");
    jwks.keys = [...jwks.keys, await newKey("k2")];
    clock.advance(999);
    expect(await keys.find("k2")).toBeUndefined();
    clock.advance(1);
    expect(await keys.find("k2")).toBeDefined();
  });

  it("renews a set past its max age in the background and counts withdrawn keys", async () => {
    const { keys, jwks, clock } = await setup();
    await keys.find("k1");
    jwks.keys = [await newKey("k2")];
    clock.advance(300_000);
    expect(await keys.find("k1")).toBeDefined();
    await keys.refresh();
    expect(await keys.find("k1")).toBeUndefined();
    expect(keys.epoch).toBe(1);
  });
});

describe("importJwks", () => {
  it("takes Ed25519 keys only", async () => {
    const { jwk } = await newKey("good");
    const keys = await importJwks(
      JSON.stringify({
        keys: [
          jwk,
          { kty: "oct", k: "c2VjcmV0", kid: "symmetric" },
          { kty: "RSA", n: "AQAB", e: "AQAB", kid: "rsa" },
          { ...jwk, kid: undefined },
        ],
      }),
    );
    expect([...keys.keys()]).toEqual(["good"]);
  });
});
