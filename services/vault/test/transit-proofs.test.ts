import { createHash, verify as verifySignature } from "node:crypto";
import { HashAlgorithm, KeyType } from "@nexus/proto/vault";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { importEd25519Public } from "../src/domain/keys/key-material.ts";
import {
  createFleet,
  type Fleet,
  login,
  outcome,
  PASSWORD_ITERATIONS,
  type Replica,
  requestId,
  type Session,
} from "./_helpers.ts";
import { createKey, textOf } from "./_transit.ts";

let fleet: Fleet;
let vault: Replica;
let admin: Session;

beforeAll(async () => {
  fleet = await createFleet();
  vault = await fleet.start();
  admin = await login(vault);
  await createKey(vault, admin, { name: names.signer, type: KeyType.ED25519 });
  await createKey(vault, admin, { name: names.mac, type: KeyType.HMAC_SHA256 });
});

afterAll(async () => {
  await fleet.close();
});

/** Keys in `default`. */
const names = { signer: "t-signer", mac: "t-mac" };

const data = Buffer.from("a message");

describe("Sign and Verify", () => {
  it("agree with any other Ed25519, over rotations, and take no other message, key or text", async () => {
    const keyName = names.signer;
    const { signature } = await vault.transit.sign({ keyName, data }, admin);
    const { versions } = await vault.keys.listKeyVersions({ name: keyName }, admin);
    const publicKey = importEd25519Public(versions[0]?.publicKey ?? Buffer.of());
    const raw = Buffer.from(signature.split(":")[2] ?? "", "base64url");
    expect(verifySignature(null, data, publicKey, raw)).toBe(true);
    await vault.keys.rotateKey({ requestId: requestId(), name: keyName }, admin);
    const valid = async (message: Buffer, text: string) =>
      (await vault.transit.verify({ keyName, data: message, signature: text }, admin)).valid;
    expect(await valid(data, signature)).toBe(true);
    expect(await valid(Buffer.from("another"), signature)).toBe(false);
    expect(await valid(data, signature.replace(":v1:", ":v2:"))).toBe(false);
    expect(await valid(data, signature.slice(0, -1))).toBe(false);
    expect(await valid(data, "nonsense")).toBe(false);
    const items = [{ data }, { data: Buffer.from("another") }];
    const signed = await vault.transit.signBatch({ keyName, items }, admin);
    const signatures = signed.results.map(textOf);
    const swapped = items.map((item, index) => ({
      ...item,
      signature: signatures[1 - index] ?? "",
    }));
    const checked = await vault.transit.verifyBatch(
      { keyName, items: [...swapped, { data, signature: signatures[0] ?? "" }] },
      admin,
    );
    expect(checked.results.map(({ outcome: { value } }) => value)).toEqual([false, false, true]);
  });
});

describe("ComputeHmac and VerifyHmac", () => {
  it("agree over rotations, and take no other message or text", async () => {
    const keyName = names.mac;
    const { hmac } = await vault.transit.computeHmac({ keyName, data }, admin);
    expect((await vault.transit.computeHmac({ keyName, data }, admin)).hmac).toBe(hmac);
    await vault.keys.rotateKey({ requestId: requestId(), name: keyName }, admin);
    const valid = async (message: Buffer, text: string) =>
      (await vault.transit.verifyHmac({ keyName, data: message, hmac: text }, admin)).valid;
    expect(await valid(data, hmac)).toBe(true);
    expect(await valid(Buffer.from("another"), hmac)).toBe(false);
    expect(await valid(data, hmac.replace(":v1:", ":v2:"))).toBe(false);
    expect(await valid(data, hmac.slice(0, -4))).toBe(false);
    expect((await vault.transit.computeHmac({ keyName, data }, admin)).hmac).not.toBe(hmac);
  });
});

describe("the helpers", () => {
  it("give random bytes, hashes, and passwords as PHC strings", async () => {
    const { randomBytes } = await vault.transit.generateRandom({ sizeBytes: 32 }, admin);
    const again = await vault.transit.generateRandom({ sizeBytes: 32 }, admin);
    expect(randomBytes.byteLength).toBe(32);
    expect(Buffer.from(randomBytes).equals(again.randomBytes)).toBe(false);
    const large = vault.transit.generateRandom({ sizeBytes: 65_537 }, admin);
    expect(await outcome(large)).toBe("invalid/REQUEST_INVALID");
    const { digest } = await vault.transit.hashData(
      { data, algorithm: HashAlgorithm.SHA512 },
      admin,
    );
    expect(Buffer.from(digest)).toEqual(createHash("sha512").update(data).digest());
    const { phc } = await vault.transit.hashPassword({ password: "ﬁrst" }, admin);
    const iterations = `i=${PASSWORD_ITERATIONS}`;
    expect(phc).toContain(`$pbkdf2-sha256$${iterations},l=32$`);
    const check = (password: string, text = phc) =>
      vault.transit.verifyPassword({ password, phc: text }, admin);
    // NFKC: the ligature and the two letters are one password.
    expect(await check("first")).toMatchObject({ valid: true, outdated: false });
    expect(await check("second")).toMatchObject({ valid: false });
    const weaker = phc.replace(iterations, "i=1000");
    expect(await check("first", weaker)).toMatchObject({ valid: false, outdated: true });
    const costly = phc.replace(iterations, "i=9000000");
    expect(await outcome(check("first", costly))).toBe("invalid/REQUEST_INVALID");
    expect(await outcome(check("first", "$argon2id$x"))).toBe("invalid/REQUEST_INVALID");
  });
});
