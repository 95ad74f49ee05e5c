import { newKeyPair, toKeyPem } from "./keys.ts";
import {
  ALGORITHM,
  BasicConstraintsExtension,
  KeyUsageFlags,
  KeyUsagesExtension,
  newSerialNumber,
  SubjectKeyIdentifierExtension,
  X509CertificateGenerator,
} from "./x509.ts";

/** Who signs certificates. */
export interface Authority {
  readonly certPem: string;
  /** PKCS #8. A secret: who has it can be every service. */
  readonly keyPem: string;
}

/** What an authority is called and how long it lives. */
export interface NewAuthority {
  /** Without special characters. */
  readonly commonName: string;
  readonly notBefore: Date;
  readonly notAfter: Date;
}

/** Makes an authority that signs leaves and no further authorities. */
export async function createAuthority(wanted: NewAuthority): Promise<Authority> {
  const keys = await newKeyPair();
  const certificate = await X509CertificateGenerator.createSelfSigned({
    serialNumber: newSerialNumber(),
    name: [{ CN: [wanted.commonName] }],
    notBefore: wanted.notBefore,
    notAfter: wanted.notAfter,
    signingAlgorithm: ALGORITHM,
    keys,
    extensions: [
      new BasicConstraintsExtension(true, 0, true),
      new KeyUsagesExtension(KeyUsageFlags.keyCertSign, true),
      await SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  return { certPem: `${certificate.toString("pem")}\n`, keyPem: await toKeyPem(keys.privateKey) };
}
