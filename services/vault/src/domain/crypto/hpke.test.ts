import { describe, expect, it } from "vitest";
import {
  AES_128_GCM,
  generateX25519,
  openHpke,
  sealHpke,
  X25519_KEY_BYTES,
  x25519PublicKey,
} from "./hpke.ts";

const hex = (text: string) => Buffer.from(text, "hex");
const BINDING = { info: Buffer.from("for this"), associatedData: Buffer.from("and this row") };

describe("openHpke", () => {
  it("opens the first message of RFC 9180 appendix A.1.1", () => {
    const privateKey = hex("4612c550263fc8ad58375df3f557aac531d26850903e55a9f23f21d8534e8ac8");
    expect(x25519PublicKey(privateKey).toString("hex")).toBe(
      "3948cfe0ad1ddb695d780e59077195da6c56506b027329794ab02bca80815c4d",
    );
    const enc = "37fda3567bdbd628e88668c3c8d7e97d1d1253b6d4ea6d44c150f741f1bf4431";
    const ciphertext =
      "f938558b5d72f1a23810b4be2ab4f84331acc02fc97babc53a52ae8218a355a96d8770ac83d07bea87e13c512a";
    const opened = openHpke(privateKey, hex(enc + ciphertext), {
      info: hex("4f6465206f6e2061204772656369616e2055726e"),
      associatedData: hex("436f756e742d30"),
      aead: AES_128_GCM,
    });
    expect(opened?.toString("utf8")).toBe("Beauty is truth, truth beauty");
  });

  it("opens with the private key and the same binding only, and never after a change", () => {
    const { publicKey, privateKey } = generateX25519();
    const secret = Buffer.from("a tenant's key");
    const box = sealHpke(publicKey, secret, BINDING);
    expect(box.byteLength).toBe(X25519_KEY_BYTES + secret.byteLength + 16);
    expect(openHpke(privateKey, box, BINDING)).toEqual(secret);
    expect(openHpke(generateX25519().privateKey, box, BINDING)).toBeUndefined();
    expect(openHpke(privateKey, box, { ...BINDING, info: Buffer.from("x") })).toBeUndefined();
    const elsewhere = { ...BINDING, associatedData: Buffer.from("x") };
    expect(openHpke(privateKey, box, elsewhere)).toBeUndefined();
    for (let byte = 0; byte < box.byteLength; byte++) {
      const changed = Buffer.from(box);
      changed[byte] = (changed[byte] ?? 0) ^ 1;
      expect(openHpke(privateKey, changed, BINDING), `byte ${byte}`).toBeUndefined();
      expect(openHpke(privateKey, box.subarray(0, byte), BINDING), `cut ${byte}`).toBeUndefined();
    }
  });

  it("refuses an encapsulated key of small order", () => {
    const { privateKey } = generateX25519();
    expect(openHpke(privateKey, Buffer.alloc(X25519_KEY_BYTES + 16), BINDING)).toBeUndefined();
  });
});
