/** The one place that loads the library, behind the polyfill that it needs. */
import "reflect-metadata";
import { randomBytes } from "node:crypto";

export {
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  type Extension,
  type GeneralNameType,
  KeyUsageFlags,
  KeyUsagesExtension,
  PemConverter,
  Pkcs10CertificateRequest,
  Pkcs10CertificateRequestGenerator,
  SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension,
  X509Certificate,
  X509CertificateGenerator,
} from "@peculiar/x509";

/** ECDSA on P-256: what every TLS stack speaks, and fast. */
export const ALGORITHM = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" } as const;

const SERIAL_BYTES = 16;

/** A serial number that nobody can foresee, positive and within the 20 bytes of RFC 5280. */
export function newSerialNumber(): string {
  const bytes = randomBytes(SERIAL_BYTES);
  // The first byte neither makes the number negative nor is zero, which DER would leave out.
  bytes[0] = ((bytes[0] ?? 0) & 0x7f) | 0x40;
  return bytes.toString("hex");
}
