import { createHash, verify as verifySignature } from "node:crypto";
import { createPool, type Pool } from "@nexus/postgres";
import { HashAlgorithm, KeyType } from "@nexus/proto/vault";
import { waitFor } from "@nexus/testkit";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { importEd25519Public } from "../src/domain/keys/key-material.ts";
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
import { CONTEXT, createKey, createPlainKey, decrypt, encrypt, OTHER_CONTEXT } from "./_transit.ts";

const FAILED = "invalid/DECRYPTION_FAILED";
const MIB = 1024 * 1024;

let fleet: Fleet;
let vault: Replica;
let admin: Session;
let tenant: Session;
let pool: Pool;
/** One key of each type, in `default`. */
const names = { envelope: "t-envelope", plain: "t-plain", signer: "t-signer", mac: "t-mac" };

beforeAll(async () => {
  fleet = await createFleet();
  vault = await fleet.start();
  admin = await login(vault);
  tenant = await createUser(vault, admin, { scopes: ["*"], namespace: "team-transit" });
  await createKey(vault, admin, { name: names.envelope });
  await createKey(vault, admin, { name: names.plain, type: KeyType.PLAIN_GCM });
  await createKey(vault, admin, { name: names.signer, type: KeyType.ED25519 });
  await createKey(vault, admin, { name: names.mac, type: KeyType.HMAC_SHA256 });
  pool = createPool({ url: fleet.database.url, max: 2, applicationName: "test", schema: "vault" });
});

afterAll(async () => {
  await pool.close();
  await fleet.close();
});

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

/** The text of an item that went well. */
function textOf({
  outcome: { value },
}: {
  readonly outcome: { readonly value?: unknown };
}): string {
  return typeof value === "string" ? value : "";
}

async function outcomes(calls: Readonly<Record<string, Promise<unknown>>>) {
  const ended = await Promise.all(Object.values(calls).map(outcome));
  return Object.fromEntries(Object.keys(calls).map((name, index) => [name, ended[index]]));
}

describe.each([
  ["envelope", "nxv"],
  ["plain", "nxg"],
] as const)("a ciphertext of a key of the type %s", (type, prefix) => {
  const keyName = names[type];

  it("opens for its context, and is another one each time", async () => {
    const texts = await Promise.all([1, 2, 3].map(() => encrypt(vault, admin, keyName)));
    expect(new Set(texts).size).toBe(3);
    for (const text of texts) {
      expect(text.startsWith(`${prefix}:v1:`)).toBe(true);
      expect(await decrypt(vault, admin, keyName, text)).toBe("a secret");
    }
    const bytes = Buffer.from(texts[0]?.split(":")[2] ?? "", "base64url").byteLength;
    expect(bytes).toBe("a secret".length + (type === "plain" ? 12 + 16 : 56 + 16));
    expect(await decrypt(vault, admin, keyName, await encrypt(vault, admin, keyName, ""))).toBe("");
  });

  it("opens for no other context, key, namespace or version", async () => {
    const ciphertext = await encrypt(vault, admin, keyName);
    const twin = await createKey(vault, admin, {
      type: type === "plain" ? KeyType.PLAIN_GCM : KeyType.ENVELOPE,
    });
    await createKey(vault, tenant, { name: keyName, type: twin.type });
    const contexts = [
      OTHER_CONTEXT,
      { ...CONTEXT, resourceType: "orders" },
      { ...CONTEXT, associatedData: Buffer.from("x") },
      { ...CONTEXT, resourceType: "orde", resourceId: "r7" },
    ];
    for (const context of contexts) {
      const call = vault.transit.decrypt({ keyName, ciphertext, context }, admin);
      expect(await outcome(call)).toBe(FAILED);
    }
    expect(await outcome(decrypt(vault, admin, twin.name, ciphertext))).toBe(FAILED);
    expect(await outcome(decrypt(vault, tenant, keyName, ciphertext))).toBe(FAILED);
    await vault.keys.rotateKey({ requestId: requestId(), name: twin.name }, admin);
    const own = await encrypt(vault, admin, twin.name);
    const relabelled = own.replace(":v2:", ":v1:");
    expect(await outcome(decrypt(vault, admin, twin.name, relabelled))).toBe(FAILED);
    const unknown = own.replace(":v2:", ":v3:");
    expect(await outcome(decrypt(vault, admin, twin.name, unknown))).toBe(
      "not_found/KEY_VERSION_NOT_FOUND",
    );
    const missing = vault.transit.decrypt({ keyName, ciphertext }, admin);
    expect(await outcome(missing)).toBe("invalid/REQUEST_INVALID");
  });

  it("does not open after a change at any place, a cut, or with a short tag, and says the same each time", async () => {
    const text = await encrypt(vault, admin, keyName);
    const [head, body] = [text.slice(0, 7), text.slice(7)];
    const bytes = Buffer.from(body, "base64url");
    const changed = [...bytes.keys()].map((at) => {
      const copy = Buffer.from(bytes);
      copy.writeUInt8(copy.readUInt8(at) ^ 0x01, at);
      return copy;
    });
    const cuts = [1, 2, 4, 8, 12, 15, 16, bytes.byteLength - 1].map((cut) =>
      bytes.subarray(0, -cut),
    );
    const longer = [Buffer.concat([bytes, Buffer.of(0)])];
    const broken = [...changed, ...cuts, ...longer].map(
      (copy) => head + copy.toString("base64url"),
    );
    const other = [`${text}=`, `${text}A`, "x", text.replace(prefix, "nxq"), text.toUpperCase()];
    const items = [...broken, ...other].map((ciphertext) => ({ ciphertext, context: CONTEXT }));
    for (let at = 0; at < items.length; at += 256) {
      const batch = items.slice(at, at + 256);
      const { results } = await vault.transit.decryptBatch({ keyName, items: batch }, admin);
      const reasons = results.map(({ outcome: { value } }) =>
        typeof value === "object" && "reason" in value ? value.reason : "opened",
      );
      expect(new Set(reasons)).toEqual(new Set(["DECRYPTION_FAILED"]));
      expect(reasons.length).toBe(batch.length);
    }
  });

  it("is rewrapped to the latest version without the right to decrypt", async () => {
    const { name } = await createKey(vault, admin, {
      type: type === "plain" ? KeyType.PLAIN_GCM : KeyType.ENVELOPE,
    });
    const old = await encrypt(vault, admin, name);
    await vault.keys.rotateKey({ requestId: requestId(), name }, admin);
    const worker = await createUser(vault, admin, { scopes: ["vault:transit:rewrap"] });
    const request = { keyName: name, ciphertext: old, context: CONTEXT };
    const { ciphertext, keyVersion } = await vault.transit.rewrap(request, worker);
    expect(keyVersion).toBe(2);
    expect(await decrypt(vault, admin, name, ciphertext)).toBe("a secret");
    expect(await outcome(decrypt(vault, worker, name, ciphertext))).toBe("forbidden/SCOPE_MISSING");
    const moved = vault.transit.rewrap({ ...request, context: OTHER_CONTEXT }, worker);
    expect(await outcome(moved)).toBe(FAILED);
  });
});

describe("a batch", () => {
  it("gives each item its own end, in order", async () => {
    const keyName = names.envelope;
    const texts = ["one", "two", "three"];
    const items = texts.map((text) => ({ plaintext: Buffer.from(text), context: CONTEXT }));
    const sealed = await vault.transit.encryptBatch({ keyName, items }, admin);
    const ciphertexts = sealed.results.map(textOf);
    const mixed = ciphertexts.map((ciphertext, index) => ({
      ciphertext,
      context: index === 1 ? OTHER_CONTEXT : CONTEXT,
    }));
    const opened = await vault.transit.decryptBatch({ keyName, items: mixed }, admin);
    expect(opened.results.map(({ outcome: end }) => end.case)).toEqual([
      "plaintext",
      "error",
      "plaintext",
    ]);
    expect(Buffer.from(opened.results[2]?.outcome.value as Uint8Array).toString()).toBe("three");
    expect(opened.results[1]?.outcome.value).toMatchObject({
      kind: "invalid",
      reason: "DECRYPTION_FAILED",
    });
    const rewrapped = await vault.transit.rewrapBatch({ keyName, items: mixed }, admin);
    expect(rewrapped.results.map(({ outcome: end }) => end.case)).toEqual([
      "ciphertext",
      "error",
      "ciphertext",
    ]);
  });

  it("is refused when it is empty, too long or too large", async () => {
    const keyName = names.envelope;
    const item = (bytes: number) => ({ plaintext: Buffer.alloc(bytes), context: CONTEXT });
    const call = (items: ReturnType<typeof item>[]) =>
      outcome(vault.transit.encryptBatch({ keyName, items }, admin));
    expect(await call([])).toBe("invalid/REQUEST_INVALID");
    expect(await call(Array.from({ length: 257 }, () => item(1)))).toBe("invalid/REQUEST_INVALID");
    expect(await call([item(MIB), item(MIB), item(1)])).toBe("invalid/REQUEST_INVALID");
    expect(await call([item(MIB + 1)])).toBe("invalid/REQUEST_INVALID");
    expect(await call([item(MIB), item(MIB)])).toBe("ok");
    expect(await call(Array.from({ length: 256 }, () => item(1)))).toBe("ok");
  });

  it("opens the largest plaintext that it takes", async () => {
    const keyName = names.envelope;
    const plaintext = Buffer.alloc(MIB, 7);
    const { ciphertext } = await vault.transit.encrypt(
      { keyName, plaintext, context: CONTEXT },
      admin,
    );
    const opened = await vault.transit.decrypt({ keyName, ciphertext, context: CONTEXT }, admin);
    expect(Buffer.from(opened.plaintext).equals(plaintext)).toBe(true);
  });
});

describe("GenerateDataKey", () => {
  it("returns a key and its ciphertext, or the ciphertext alone", async () => {
    const keyName = names.envelope;
    const made = await vault.transit.generateDataKey(
      { keyName, context: CONTEXT, sizeBytes: 64 },
      admin,
    );
    expect(made.plaintextKey.byteLength).toBe(64);
    const request = { keyName, ciphertext: made.wrappedKey, context: CONTEXT };
    const opened = await vault.transit.decrypt(request, admin);
    expect(Buffer.from(opened.plaintext).equals(made.plaintextKey)).toBe(true);
    const alone = { keyName, context: CONTEXT, wrappedOnly: true };
    const wrapped = await vault.transit.generateDataKey(alone, admin);
    expect(wrapped.plaintextKey.byteLength).toBe(0);
    const later = { keyName, ciphertext: wrapped.wrappedKey, context: CONTEXT };
    expect((await vault.transit.decrypt(later, admin)).plaintext.byteLength).toBe(32);
    const odd = vault.transit.generateDataKey({ keyName, context: CONTEXT, sizeBytes: 20 }, admin);
    expect(await outcome(odd)).toBe("invalid/REQUEST_INVALID");
  });
});

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
    expect(phc).toMatch(/^\$pbkdf2-sha256\$i=100000,l=32\$/);
    const check = (password: string, text = phc) =>
      vault.transit.verifyPassword({ password, phc: text }, admin);
    // NFKC: the ligature and the two letters are one password.
    expect(await check("first")).toMatchObject({ valid: true, outdated: false });
    expect(await check("second")).toMatchObject({ valid: false });
    const weaker = phc.replace("i=100000", "i=1000");
    expect(await check("first", weaker)).toMatchObject({ valid: false, outdated: true });
    const costly = phc.replace("i=100000", "i=9000000");
    expect(await outcome(check("first", costly))).toBe("invalid/REQUEST_INVALID");
    expect(await outcome(check("first", "$argon2id$x"))).toBe("invalid/REQUEST_INVALID");
  });
});

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

describe("the uses of a plain key", () => {
  const reserved = async (name: string) => {
    const { versions } = await vault.keys.listKeyVersions({ name }, admin);
    return versions.map(({ version, usesReserved }) => [version, Number(usesReserved)]);
  };

  async function setUses(name: string, uses: number): Promise<void> {
    await pool.query(
      `UPDATE key_versions SET uses_reserved = $2
       WHERE key_id = (SELECT key_id FROM named_keys WHERE name = $1)`,
      [name, uses],
    );
  }

  it("are counted in blocks, and a restart wastes one and repeats none", async () => {
    const { name } = await createPlainKey(vault, admin);
    for (let use = 0; use < 5; use++) await encrypt(vault, admin, name);
    expect(await reserved(name)).toEqual([[1, 65_536]]);
    const fresh = await fleet.start();
    await encrypt(fresh, admin, name);
    expect(await reserved(name)).toEqual([[1, 131_072]]);
    await fresh.stop();
  });

  it("bring the next version at half of 2^32, without holding a use up", async () => {
    const { name } = await createPlainKey(vault, admin);
    await setUses(name, 2 ** 31 - 65_536);
    expect(await encrypt(vault, admin, name)).toMatch(/^nxg:v1:/);
    await waitFor(async () => (await encrypt(vault, admin, name)).startsWith("nxg:v2:"), {
      what: "the next version",
    });
    expect(await reserved(name)).toEqual([
      [2, 65_536],
      [1, 2 ** 31],
    ]);
  });

  it("are refused beyond 0.9 of 2^32, until the next version is there", async () => {
    const { name } = await createPlainKey(vault, admin);
    const text = await encrypt(vault, admin, name);
    await setUses(name, 3_865_470_566);
    const fresh = await fleet.start();
    expect(await outcome(encrypt(fresh, admin, name))).toBe("exhausted/KEY_EXHAUSTED");
    await waitFor(async () => (await encrypt(fresh, admin, name)).startsWith("nxg:v2:"), {
      what: "the next version",
    });
    expect(await decrypt(fresh, admin, name, text)).toBe("a secret");
    expect((await reserved(name)).at(-1)).toEqual([1, 3_865_470_566]);
    await fresh.stop();
  });
});
