/** Certificates for TLS tests, made here: Node can read X.509 but not write it, and openssl may be absent.
 *
 * Just enough DER for an authority and the leaves it signs (RFC 5280), ECDSA P-256 with SHA-256. */
import { generateKeyPairSync, type KeyObject, randomBytes, sign } from "node:crypto";

const DAY_MS = 86_400_000;
const ECDSA_WITH_SHA256 = Buffer.from("06082a8648ce3d040302", "hex");
const COMMON_NAME = Buffer.from("0603550403", "hex");
const BASIC_CONSTRAINTS = Buffer.from("0603551d13", "hex");
const SUBJECT_ALT_NAME = Buffer.from("0603551d11", "hex");
const TRUE = Buffer.from("0101ff", "hex");
const LOOPBACK = Buffer.from([127, 0, 0, 1]);

/** A certificate and its private key, PEM. */
export interface KeyPair {
  readonly cert: Buffer;
  readonly key: Buffer;
}

/** An authority, and what it has signed. */
export interface TestCertificates {
  readonly ca: Buffer;
  readonly server: KeyPair;
  readonly client: KeyPair;
}

/** Makes an authority with one server certificate for 127.0.0.1 and one client certificate. */
export function createTestCertificates(): TestCertificates {
  const authority = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const issue = (name: string): KeyPair => {
    const { publicKey, privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
    const address = sequence(tlv(0x87, LOOPBACK));
    const extension = sequence(SUBJECT_ALT_NAME, tlv(0x04, address));
    const cert = certificate({ name, publicKey, signer: authority.privateKey, extension });
    return { cert, key: Buffer.from(privateKey.export({ type: "pkcs8", format: "pem" })) };
  };
  const isAuthority = sequence(BASIC_CONSTRAINTS, TRUE, tlv(0x04, sequence(TRUE)));
  const ca = certificate({
    name: "test authority",
    publicKey: authority.publicKey,
    signer: authority.privateKey,
    extension: isAuthority,
  });
  return { ca, server: issue("server"), client: issue("client") };
}

interface CertificateSpec {
  readonly name: string;
  readonly publicKey: KeyObject;
  readonly signer: KeyObject;
  readonly extension: Buffer;
}

function certificate({ name, publicKey, signer, extension }: CertificateSpec): Buffer {
  const algorithm = sequence(ECDSA_WITH_SHA256);
  const toBeSigned = sequence(
    tlv(0xa0, integer(Buffer.from([2]))),
    // The first byte is never zero, which DER forbids before a small number.
    integer(Buffer.concat([Buffer.from([1]), randomBytes(7)])),
    algorithm,
    distinguishedName("test authority"),
    sequence(utcTime(Date.now() - DAY_MS), utcTime(Date.now() + DAY_MS)),
    distinguishedName(name),
    publicKey.export({ type: "spki", format: "der" }),
    tlv(0xa3, sequence(extension)),
  );
  const signature = tlv(0x03, Buffer.concat([Buffer.alloc(1), sign("sha256", toBeSigned, signer)]));
  const body = sequence(toBeSigned, algorithm, signature).toString("base64");
  const lines = body.match(/.{1,64}/g) ?? [];
  return Buffer.from(
    `-----BEGIN CERTIFICATE-----\n${lines.join("\n")}\n-----END CERTIFICATE-----\n`,
  );
}

function distinguishedName(name: string): Buffer {
  return sequence(tlv(0x31, sequence(COMMON_NAME, tlv(0x0c, Buffer.from(name)))));
}

function integer(bytes: Buffer): Buffer {
  // A leading zero would be wrong only before a byte below 128, and is needed before any other.
  const isNegative = (bytes[0] ?? 0) >= 128;
  return tlv(0x02, isNegative ? Buffer.concat([Buffer.alloc(1), bytes]) : bytes);
}

function utcTime(atMs: number): Buffer {
  const digits = new Date(atMs).toISOString().replaceAll(/[-:T]/g, "").slice(2, 14);
  return tlv(0x17, Buffer.from(`${digits}Z`));
}

function sequence(...parts: Buffer[]): Buffer {
  return tlv(0x30, Buffer.concat(parts));
}

function tlv(tag: number, value: Buffer): Buffer {
  const size = value.length;
  if (size < 128) return Buffer.concat([Buffer.from([tag, size]), value]);
  const length = size < 256 ? [0x81, size] : [0x82, size >> 8, size & 0xff];
  return Buffer.concat([Buffer.from([tag, ...length]), value]);
}
