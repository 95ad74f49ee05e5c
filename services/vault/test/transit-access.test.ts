import { KeyType } from "@nexus/proto/vault";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  createFleet,
  createUser,
  type Fleet,
  KEY,
  login,
  outcome,
  type Replica,
  requestId,
  type Session,
} from "./_helpers.ts";
import { CONTEXT, createKey, decrypt, encrypt } from "./_transit.ts";

let fleet: Fleet;
let vault: Replica;
let admin: Session;
let tenant: Session;

beforeAll(async () => {
  fleet = await createFleet();
  vault = await fleet.start();
  admin = await login(vault);
  tenant = await createUser(vault, admin, { scopes: ["*"], namespace: "team-transit" });
  await createKey(vault, admin, { name: names.envelope });
  await createKey(vault, admin, { name: names.plain, type: KeyType.PLAIN_GCM });
  await createKey(vault, admin, { name: names.signer, type: KeyType.ED25519 });
  await createKey(vault, admin, { name: names.mac, type: KeyType.HMAC_SHA256 });
});

afterAll(async () => {
  await fleet.close();
});

/** One key of each type, in `default`. */
const names = { envelope: "t-envelope", plain: "t-plain", signer: "t-signer", mac: "t-mac" };

const data = Buffer.from("a message");

/** Every method that uses a key, on the key of the given name. */
function everyUse(keyName: string, caller: Session, replica = vault) {
  const { transit } = replica;
  const plaintext = data;
  const ciphertext = "nxv:v1:YWJj";
  return {
    encrypt: transit.encrypt({ keyName, plaintext, context: CONTEXT }, caller),
    encryptBatch: transit.encryptBatch(
      { keyName, items: [{ plaintext, context: CONTEXT }] },
      caller,
    ),
    decrypt: transit.decrypt({ keyName, ciphertext, context: CONTEXT }, caller),
    decryptBatch: transit.decryptBatch(
      { keyName, items: [{ ciphertext, context: CONTEXT }] },
      caller,
    ),
    rewrap: transit.rewrap({ keyName, ciphertext, context: CONTEXT }, caller),
    rewrapBatch: transit.rewrapBatch(
      { keyName, items: [{ ciphertext, context: CONTEXT }] },
      caller,
    ),
    generateDataKey: transit.generateDataKey({ keyName, context: CONTEXT }, caller),
    sign: transit.sign({ keyName, data }, caller),
    signBatch: transit.signBatch({ keyName, items: [{ data }] }, caller),
    verify: transit.verify({ keyName, data, signature: "nxs:v1:YWJj" }, caller),
    verifyBatch: transit.verifyBatch(
      { keyName, items: [{ data, signature: "nxs:v1:YWJj" }] },
      caller,
    ),
    computeHmac: transit.computeHmac({ keyName, data }, caller),
    verifyHmac: transit.verifyHmac({ keyName, data, hmac: "nxm:v1:YWJj" }, caller),
  };
}

async function outcomes(calls: Readonly<Record<string, Promise<unknown>>>) {
  const ended = await Promise.all(Object.values(calls).map(outcome));
  return Object.fromEntries(Object.keys(calls).map((name, index) => [name, ended[index]]));
}

describe("every use of a key", () => {
  const CIPHER = [
    "encrypt",
    "encryptBatch",
    "decrypt",
    "decryptBatch",
    "rewrap",
    "rewrapBatch",
    "generateDataKey",
  ];
  const SIGN = ["sign", "signBatch", "verify", "verifyBatch"];
  const MAC = ["computeHmac", "verifyHmac"];

  it("needs its scope, and a key of the caller's namespace", async () => {
    const user = await createUser(vault, admin);
    const refused = await outcomes(everyUse(names.envelope, user));
    expect(new Set(Object.values(refused))).toEqual(new Set(["forbidden/SCOPE_MISSING"]));
    const helpers = [
      vault.transit.generateRandom({ sizeBytes: 1 }, user),
      vault.transit.hashData({ data }, user),
      vault.transit.hashPassword({ password: "x" }, user),
      vault.transit.verifyPassword({ password: "x", phc: "x" }, user),
    ];
    const ended = await Promise.all(helpers.map(outcome));
    expect(new Set(ended)).toEqual(new Set(["forbidden/SCOPE_MISSING"]));
    const unknown = await outcomes(everyUse(names.signer, tenant));
    expect(new Set(Object.values(unknown))).toEqual(new Set(["not_found/KEY_NOT_FOUND"]));
  });

  it("is for keys of its type", async () => {
    for (const [name, uses] of [
      [names.envelope, CIPHER],
      [names.plain, CIPHER],
      [names.signer, SIGN],
      [names.mac, MAC],
    ] as const) {
      const ended = await outcomes(everyUse(name, admin));
      for (const [use, end] of Object.entries(ended)) {
        expect(end === "precondition/KEY_TYPE_WRONG", `${use} ${name}`).toBe(!uses.includes(use));
      }
    }
  });

  it("is refused for a disabled key", async () => {
    const own: Readonly<Record<string, readonly string[]>> = {
      [names.envelope]: CIPHER,
      [names.signer]: SIGN,
      [names.mac]: MAC,
    };
    for (const [name, uses] of Object.entries(own)) {
      await vault.keys.disableKey({ requestId: requestId(), name }, admin);
      const ended = await outcomes(everyUse(name, admin));
      for (const use of uses) expect(ended[use], use).toBe("precondition/KEY_DISABLED");
      await vault.keys.enableKey({ requestId: requestId(), name }, admin);
    }
  });

  it("is refused while vault is sealed, and goes on afterwards", async () => {
    const text = await encrypt(vault, admin, names.envelope);
    const { signature } = await vault.transit.sign({ keyName: names.signer, data }, admin);
    await vault.seal.seal({}, admin);
    const ciphers = await outcomes(everyUse(names.envelope, admin));
    const sealed = "precondition/VAULT_SEALED";
    for (const use of ["encrypt", "encryptBatch", "generateDataKey"]) {
      expect(ciphers[use]).toBe(sealed);
    }
    expect(await outcome(decrypt(vault, admin, names.envelope, text))).toBe(sealed);
    const request = { keyName: names.signer, data, signature };
    expect(await outcome(vault.transit.verify(request, admin))).toBe(sealed);
    expect(await outcome(vault.transit.sign(request, admin))).toBe(sealed);
    expect(await outcome(createKey(vault, admin))).toBe(sealed);
    await vault.seal.unseal({ rootKey: Buffer.from(KEY, "base64") });
    expect(await decrypt(vault, admin, names.envelope, text)).toBe("a secret");
    expect(await vault.transit.verify(request, admin)).toMatchObject({ valid: true });
  });
});
