import { KeyType } from "@nexus/proto/vault";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  createFleet,
  createUser,
  type Fleet,
  login,
  outcome,
  type Replica,
  requestId,
  type Session,
} from "./_helpers.ts";
import { CONTEXT, createKey, decrypt, encrypt, OTHER_CONTEXT, textOf } from "./_transit.ts";

const FAILED = "invalid/DECRYPTION_FAILED";
const MIB = 1024 * 1024;

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
});

afterAll(async () => {
  await fleet.close();
});

/** Keys in `default`. */
const names = { envelope: "t-envelope", plain: "t-plain" };

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
