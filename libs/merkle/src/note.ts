import {
  createHash,
  createPrivateKey,
  createPublicKey,
  type KeyObject,
  sign,
  verify,
} from "node:crypto";

/** Signature types of signed notes. Source: C2SP signed-note, tlog-cosignature. */
const ED25519 = 1;
const COSIGNATURE = 4;
const KEY_ID_BYTES = 4;
const SIGNATURE_BYTES = 64;
const TIME_BYTES = 8;
const PUBLIC_KEY_BYTES = 32;
/** SubjectPublicKeyInfo around a raw Ed25519 key (RFC 8410). */
const PUBLIC_PREFIX = Buffer.from("302a300506032b6570032100", "hex");
const PRIVATE_PREFIX = Buffer.from("302e020100300506032b657004220420", "hex");
const NAME = /^[^\s+]+$/u;

/** A public key of a log or a witness, by the name it signs under. */
export interface NoteKey {
  readonly name: string;
  /** 32 bytes. */
  readonly publicKey: Uint8Array;
}

/** A key that signs. */
export interface NoteSigner extends NoteKey {
  readonly privateKey: KeyObject;
}

/** A private key from its 32 bytes (RFC 8410). */
export function ed25519FromSeed(seed: Uint8Array): KeyObject {
  const key = Buffer.concat([PRIVATE_PREFIX, seed]);
  try {
    return createPrivateKey({ key, format: "der", type: "pkcs8" });
  } finally {
    key.fill(0);
  }
}

/** The raw public half of an Ed25519 key. */
export function rawPublicKey(key: KeyObject): Buffer {
  const publicKey = key.type === "private" ? createPublicKey(key) : key;
  const der = publicKey.export({ format: "der", type: "spki" });
  return Buffer.from(der.subarray(PUBLIC_PREFIX.byteLength));
}

function keyId({ name, publicKey }: NoteKey, type: number): Buffer {
  const text = Buffer.concat([Buffer.from(`${name}\n`), Buffer.of(type), publicKey]);
  return createHash("sha256").update(text).digest().subarray(0, KEY_ID_BYTES);
}

/** Writes a key as others pin it: `name+id+base64`. */
export function formatNoteKey(key: NoteKey): string {
  const encoded = Buffer.concat([Buffer.of(ED25519), key.publicKey]).toString("base64");
  return `${key.name}+${keyId(key, ED25519).toString("hex")}+${encoded}`;
}

/** Reads such a key; undefined when it is none, or its id is another key's. */
export function tryParseNoteKey(text: string): NoteKey | undefined {
  const [name = "", id = "", ...encoded] = text.trim().split("+");
  const bytes = Buffer.from(encoded.join("+"), "base64");
  if (!NAME.test(name) || bytes.byteLength !== 1 + PUBLIC_KEY_BYTES || bytes[0] !== ED25519) {
    return undefined;
  }
  const key = { name, publicKey: bytes.subarray(1) };
  return keyId(key, ED25519).toString("hex") === id ? key : undefined;
}

/** Signs a text that ends with a newline; returns the note. */
export function signNote(text: string, signer: NoteSigner): string {
  const signature = sign(null, Buffer.from(text), signer.privateKey);
  return `${text}\n${signatureLine(signer.name, keyId(signer, ED25519), signature)}`;
}

/** Adds a witness's signature, which says when it saw the note. */
export function cosignNote(note: string, signer: NoteSigner, timeS: number): string {
  const signed = Buffer.from(cosigned(textOf(note), timeS));
  const time = Buffer.alloc(TIME_BYTES);
  time.writeBigUInt64BE(BigInt(timeS));
  const signature = Buffer.concat([time, sign(null, signed, signer.privateKey)]);
  return note + signatureLine(signer.name, keyId(signer, COSIGNATURE), signature);
}

/** Says whether a note carries a valid signature of the key. */
export function isSignedBy(note: string, key: NoteKey): boolean {
  const id = keyId(key, ED25519);
  const text = Buffer.from(textOf(note));
  return signaturesOf(note, key.name).some(
    (bytes) =>
      bytes.byteLength === KEY_ID_BYTES + SIGNATURE_BYTES &&
      id.equals(bytes.subarray(0, KEY_ID_BYTES)) &&
      verifies(text, key, bytes.subarray(KEY_ID_BYTES)),
  );
}

/** When the witness cosigned the note, in seconds; undefined when it did not. */
export function cosignedAt(note: string, witness: NoteKey): number | undefined {
  const id = keyId(witness, COSIGNATURE);
  for (const bytes of signaturesOf(note, witness.name)) {
    if (bytes.byteLength !== KEY_ID_BYTES + TIME_BYTES + SIGNATURE_BYTES) continue;
    if (!id.equals(bytes.subarray(0, KEY_ID_BYTES))) continue;
    const timeS = Number(bytes.readBigUInt64BE(KEY_ID_BYTES));
    const text = Buffer.from(cosigned(textOf(note), timeS));
    if (verifies(text, witness, bytes.subarray(KEY_ID_BYTES + TIME_BYTES))) return timeS;
  }
  return undefined;
}

/** The text that was signed: everything up to the empty line. */
export function textOf(note: string): string {
  const end = note.indexOf("\n\n");
  return end < 0 ? note : note.slice(0, end + 1);
}

function cosigned(text: string, timeS: number): string {
  return `cosignature/v1\ntime ${timeS}\n${text}`;
}

function signatureLine(name: string, id: Buffer, signature: Buffer): string {
  return `\u2014 ${name} ${Buffer.concat([id, signature]).toString("base64")}\n`;
}

function signaturesOf(note: string, name: string): Buffer[] {
  const prefix = `\u2014 ${name} `;
  return note
    .slice(textOf(note).length)
    .split("\n")
    .filter((line) => line.startsWith(prefix))
    .map((line) => Buffer.from(line.slice(prefix.length), "base64"));
}

function verifies(text: Buffer, { publicKey }: NoteKey, signature: Uint8Array): boolean {
  const key = Buffer.concat([PUBLIC_PREFIX, publicKey]);
  return verify(null, text, createPublicKey({ key, format: "der", type: "spki" }), signature);
}
