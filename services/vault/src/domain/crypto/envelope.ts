import { createCipheriv, createDecipheriv, randomBytes, timingSafeEqual } from "node:crypto";
import { AEAD_KEY_BYTES } from "../aead.ts";
import { hkdfExpandSha512 } from "./hkdf.ts";

/** Plaintext bytes of every chunk but the last, which is always shorter. */
export const CHUNK_BYTES = 16_384;
/** Salt and commitment in front of the chunks. */
export const ENVELOPE_HEADER_BYTES = 56;
const SALT_BYTES = 24;
const COMMITMENT_BYTES = 32;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const SEALED_CHUNK_BYTES = CHUNK_BYTES + TAG_BYTES;
const ALGORITHM = "aes-256-gcm";
const LABEL = Buffer.from("c2sp.org/chunked-encryption@v1+AEAD_AES_256_GCM\0", "latin1");
/** Bytes of the envelope of so many bytes of plaintext. */
export function envelopeBytes(plaintextBytes: number): number {
  const chunks = Math.floor(plaintextBytes / CHUNK_BYTES) + 1;
  return ENVELOPE_HEADER_BYTES + plaintextBytes + chunks * TAG_BYTES;
}

/** The counter may have 38 bits by the specification; ours stops at 2^32 chunks, 64 TiB. */
const CHUNKS_MAX = 2 ** 32;

interface MessageKeys {
  readonly key: Buffer;
  readonly baseNonce: Buffer;
  readonly commitment: Buffer;
}

/** The key of one message, its nonces' base, and the commitment that no other key or context can produce. */
function deriveMessageKeys(
  inputKey: Uint8Array,
  salt: Uint8Array,
  context: Uint8Array,
): MessageKeys {
  const lengthBytes = AEAD_KEY_BYTES + NONCE_BYTES + COMMITMENT_BYTES;
  const derived = hkdfExpandSha512(inputKey, Buffer.concat([LABEL, salt, context]), lengthBytes);
  return {
    key: derived.subarray(0, AEAD_KEY_BYTES),
    baseNonce: derived.subarray(AEAD_KEY_BYTES, AEAD_KEY_BYTES + NONCE_BYTES),
    commitment: derived.subarray(AEAD_KEY_BYTES + NONCE_BYTES),
  };
}

/** The base with the chunk's number XORed into its last bytes, big-endian. */
function chunkNonce(baseNonce: Buffer, chunk: number): Buffer {
  const nonce = Buffer.from(baseNonce);
  nonce.writeUInt32BE((nonce.readUInt32BE(NONCE_BYTES - 4) ^ chunk) >>> 0, NONCE_BYTES - 4);
  return nonce;
}

/** Encrypts one message piece by piece: C2SP chunked-encryption with AES-256-GCM and HKDF-SHA512, byte for byte.
 *
 * Each message has a key of its own, so one input key seals 2^55 messages and more; the commitment makes a ciphertext
 * open under one key and one context only. Holds at most one chunk of plaintext.
 * Source: https://c2sp.org/chunked-encryption */
export class EnvelopeSealer {
  readonly header: Buffer;
  readonly #keys: MessageKeys;
  #rest: Buffer = Buffer.alloc(0);
  #chunk = 0;
  #closed = false;

  constructor(inputKey: Uint8Array, context: Uint8Array) {
    if (inputKey.byteLength !== AEAD_KEY_BYTES) throw new RangeError("The key has a wrong size.");
    const salt = randomBytes(SALT_BYTES);
    this.#keys = deriveMessageKeys(inputKey, salt, context);
    this.header = Buffer.concat([salt, this.#keys.commitment]);
  }

  /** Takes the next piece; returns the chunks that are full. */
  update(piece: Uint8Array): Buffer {
    let rest =
      this.#rest.byteLength === 0 ? Buffer.from(piece) : Buffer.concat([this.#rest, piece]);
    const sealed: Buffer[] = [];
    while (rest.byteLength >= CHUNK_BYTES) {
      sealed.push(this.#seal(rest.subarray(0, CHUNK_BYTES)));
      rest = rest.subarray(CHUNK_BYTES);
    }
    this.#rest = rest;
    return Buffer.concat(sealed);
  }

  /** Seals the last chunk, which may be empty, and forgets the key. */
  final(): Buffer {
    const last = this.#seal(this.#rest);
    this.close();
    return last;
  }

  /** Forgets the key of the message. */
  close(): void {
    this.#closed = true;
    this.#keys.key.fill(0);
  }

  #seal(plaintext: Uint8Array): Buffer {
    // Or the zeros that are left of the key would encrypt.
    if (this.#closed) throw new Error("The key of the message is forgotten.");
    if (this.#chunk >= CHUNKS_MAX) throw new RangeError("The message has too many chunks.");
    const nonce = chunkNonce(this.#keys.baseNonce, this.#chunk++);
    const options = { authTagLength: TAG_BYTES };
    const cipher = createCipheriv(ALGORITHM, this.#keys.key, nonce, options);
    return Buffer.concat([cipher.update(plaintext), cipher.final(), cipher.getAuthTag()]);
  }
}

/** Decrypts one message piece by piece. update() and final() return undefined when the message does not open: then nothing
 * more of it may be used. What update() returns is authentic and in its place; only final() knows that nothing is
 * missing. */
export class EnvelopeOpener {
  readonly #inputKey: Buffer;
  readonly #context: Uint8Array;
  #keys: MessageKeys | undefined;
  #rest: Buffer = Buffer.alloc(0);
  #chunk = 0;
  #failed = false;

  constructor(inputKey: Uint8Array, context: Uint8Array) {
    this.#inputKey = Buffer.from(inputKey);
    this.#context = context;
    this.#failed = inputKey.byteLength !== AEAD_KEY_BYTES;
  }

  /** Takes the next piece; returns the plaintext of the chunks that are whole. */
  update(piece: Uint8Array): Buffer | undefined {
    if (this.#failed) return undefined;
    this.#rest =
      this.#rest.byteLength === 0 ? Buffer.from(piece) : Buffer.concat([this.#rest, piece]);
    if (this.#keys === undefined && !this.#readHeader()) {
      return this.#failed ? undefined : Buffer.alloc(0);
    }
    const opened: Buffer[] = [];
    while (this.#rest.byteLength >= SEALED_CHUNK_BYTES) {
      const chunk = this.#open(this.#rest.subarray(0, SEALED_CHUNK_BYTES));
      if (chunk === undefined) return undefined;
      opened.push(chunk);
      this.#rest = this.#rest.subarray(SEALED_CHUNK_BYTES);
    }
    return Buffer.concat(opened);
  }

  /** Opens the last chunk, which is always shorter than the others: a message that was cut has none. */
  final(): Buffer | undefined {
    const complete =
      !this.#failed && this.#keys !== undefined && this.#rest.byteLength >= TAG_BYTES;
    const last = complete ? this.#open(this.#rest) : undefined;
    this.close();
    return last;
  }

  /** Forgets the keys. */
  close(): void {
    this.#inputKey.fill(0);
    this.#keys?.key.fill(0);
    this.#failed = true;
  }

  #readHeader(): boolean {
    if (this.#rest.byteLength < ENVELOPE_HEADER_BYTES) return false;
    const salt = this.#rest.subarray(0, SALT_BYTES);
    const keys = deriveMessageKeys(this.#inputKey, salt, this.#context);
    this.#inputKey.fill(0);
    const commitment = this.#rest.subarray(SALT_BYTES, ENVELOPE_HEADER_BYTES);
    this.#failed = !timingSafeEqual(commitment, keys.commitment);
    if (this.#failed) return false;
    this.#keys = keys;
    this.#rest = this.#rest.subarray(ENVELOPE_HEADER_BYTES);
    return true;
  }

  #open(sealed: Buffer): Buffer | undefined {
    const { key, baseNonce } = this.#keys as MessageKeys;
    if (this.#chunk >= CHUNKS_MAX) return this.#fail();
    const nonce = chunkNonce(baseNonce, this.#chunk++);
    const decipher = createDecipheriv(ALGORITHM, key, nonce, { authTagLength: TAG_BYTES });
    decipher.setAuthTag(sealed.subarray(-TAG_BYTES));
    try {
      return Buffer.concat([decipher.update(sealed.subarray(0, -TAG_BYTES)), decipher.final()]);
    } catch {
      // final() throws only when the tag does not match; why is nobody's business.
      return this.#fail();
    }
  }

  #fail(): undefined {
    this.#failed = true;
    return undefined;
  }
}

/** Encrypts a whole message. */
export function sealEnvelope(
  inputKey: Uint8Array,
  plaintext: Uint8Array,
  context: Uint8Array,
): Buffer {
  const sealer = new EnvelopeSealer(inputKey, context);
  return Buffer.concat([sealer.header, sealer.update(plaintext), sealer.final()]);
}

/** Decrypts a whole message; undefined when it does not open. */
export function openEnvelope(
  inputKey: Uint8Array,
  message: Uint8Array,
  context: Uint8Array,
): Buffer | undefined {
  const opener = new EnvelopeOpener(inputKey, context);
  const body = opener.update(message);
  const last = opener.final();
  return body === undefined || last === undefined ? undefined : Buffer.concat([body, last]);
}
