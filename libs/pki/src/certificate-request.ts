import type { webcrypto } from "node:crypto";
import { NexusError } from "@nexus/shared";
import type { CertificateNames } from "./certificate-names.ts";
import { newKeyPair, toKeyPem } from "./keys.ts";
import { toExtension, tryReadNames } from "./names.ts";
import {
  ALGORITHM,
  Pkcs10CertificateRequest,
  Pkcs10CertificateRequestGenerator,
  SubjectAlternativeNameExtension,
} from "./x509.ts";

/** A request, and the key that stays with who makes it. */
export interface CertificateRequest {
  /** PKCS #10 in PEM. */
  readonly requestPem: string;
  /** PKCS #8 in PEM. */
  readonly keyPem: string;
}

/** What a request asks for. */
export interface RequestedCertificate {
  readonly publicKey: webcrypto.CryptoKey;
  readonly names: CertificateNames;
}

const ANY_NAMES: CertificateNames = { uris: [], dnsNames: [], ipAddresses: [] };

/** Makes a key and the request of a certificate for it. Without names the authority decides which. */
export async function createCertificateRequest(
  commonName: string,
  names: CertificateNames = ANY_NAMES,
): Promise<CertificateRequest> {
  const keys = await newKeyPair();
  const request = await Pkcs10CertificateRequestGenerator.create({
    name: [{ CN: [commonName] }],
    keys,
    signingAlgorithm: ALGORITHM,
    extensions: names === ANY_NAMES ? [] : [toExtension(names)],
  });
  return {
    requestPem: `${request.toString("pem")}\n`,
    keyPem: await toKeyPem(keys.privateKey),
  };
}

/** Reads a request and proves that who made it has the key.
 *
 * Errors: invalid/CERTIFICATE_REQUEST_INVALID when it is no request, asks for a key or a name of another kind, or its
 * signature is wrong. */
export async function readCertificateRequest(requestPem: string): Promise<RequestedCertificate> {
  try {
    const request = new Pkcs10CertificateRequest(requestPem);
    const names = tryReadNames(
      request.extensions.find((one) => one instanceof SubjectAlternativeNameExtension),
    );
    // Fails for any other kind of key.
    const publicKey = await request.publicKey.export(ALGORITHM, ["verify"]);
    if (names !== undefined && (await request.verify())) return { publicKey, names };
  } catch (cause) {
    throw requestInvalid(cause);
  }
  throw requestInvalid(undefined);
}

function requestInvalid(cause: unknown): NexusError {
  return new NexusError({
    kind: "invalid",
    reason: "CERTIFICATE_REQUEST_INVALID",
    message:
      "This is no PKCS #10 request, signed by its own P-256 key, for URIs, DNS names and addresses.",
    cause,
  });
}
