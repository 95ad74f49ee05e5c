import { createHmac, hkdfSync } from "node:crypto";

const SHA512_BYTES = 64;

/** HKDF-SHA512 (RFC 5869), extract and expand: a key for one purpose out of a key for many. */
export function hkdfSha512(
  key: Uint8Array,
  options: {
    readonly salt: Uint8Array;
    readonly info: Uint8Array | string;
    readonly lengthBytes: number;
  },
): Buffer {
  return Buffer.from(hkdfSync("sha512", key, options.salt, options.info, options.lengthBytes));
}

/** The expand half alone, for keys that are uniformly random already (RFC 5869 section 3.3). */
export function hkdfExpandSha512(prk: Uint8Array, info: Uint8Array, lengthBytes: number): Buffer {
  const blocks: Buffer[] = [];
  let previous = Buffer.alloc(0);
  for (let counter = 1; (counter - 1) * SHA512_BYTES < lengthBytes; counter++) {
    const hmac = createHmac("sha512", prk).update(previous).update(info);
    previous = hmac.update(Buffer.of(counter)).digest();
    blocks.push(previous);
  }
  return Buffer.concat(blocks, lengthBytes);
}
