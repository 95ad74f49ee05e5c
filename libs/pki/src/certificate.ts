import type { webcrypto } from "node:crypto";
import type { Authority } from "./authority.ts";
import type { CertificateNames } from "./certificate-names.ts";
import { fromKeyPem } from "./keys.ts";
import { toExtension } from "./names.ts";
import {
  ALGORITHM,
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  KeyUsageFlags,
  KeyUsagesExtension,
  newSerialNumber,
  X509Certificate,
  X509CertificateGenerator,
} from "./x509.ts";

/** A certificate about to be signed. */
export interface NewCertificate {
  readonly authority: Authority;
  /** Of the one it is for. */
  readonly publicKey: webcrypto.CryptoKey;
  readonly commonName: string;
  readonly names: CertificateNames;
  readonly notBefore: Date;
  /** Cut to the end of the authority. */
  readonly notAfter: Date;
}

/** Signs a certificate for one end of a connection, either end. Returns PEM. */
export async function issueCertificate(wanted: NewCertificate): Promise<string> {
  const issuer = new X509Certificate(wanted.authority.certPem);
  const certificate = await X509CertificateGenerator.create({
    serialNumber: newSerialNumber(),
    issuer: issuer.subject,
    subject: [{ CN: [wanted.commonName] }],
    notBefore: wanted.notBefore,
    notAfter: new Date(Math.min(wanted.notAfter.getTime(), issuer.notAfter.getTime())),
    signingAlgorithm: ALGORITHM,
    signingKey: await fromKeyPem(wanted.authority.keyPem),
    publicKey: wanted.publicKey,
    extensions: [
      new BasicConstraintsExtension(false, undefined, true),
      new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
      new ExtendedKeyUsageExtension([ExtendedKeyUsage.serverAuth, ExtendedKeyUsage.clientAuth]),
      toExtension(wanted.names),
      await AuthorityKeyIdentifierExtension.create(issuer),
    ],
  });
  return `${certificate.toString("pem")}\n`;
}
