import type { Pool } from "@nexus/postgres";
import { spiffeIdOf } from "@nexus/rpc";
import type { VaultConfig } from "../config.ts";
import { namesOfService, parseServiceHosts } from "../domain/authority.ts";
import {
  CertificateAuthority,
  type CertificateAuthorityOptions,
} from "../domain/certificate-authority.ts";
import type { CertificateFormat } from "../domain/ports.ts";
import { createAuthorityReader } from "../store/authority-store.ts";

/** Loaded when the first certificate is asked for: a vault that issues none does without. */
const pki = () => import("@nexus/pki");

/** The certificate format of @nexus/pki, as the domain asks for it. */
const CERTIFICATE_FORMAT: CertificateFormat = {
  newAuthority: async (wanted) => (await pki()).createAuthority(wanted),
  readRequest: async (requestPem) => (await pki()).readCertificateRequest(requestPem),
  issue: async ({ request, ...wanted }) => {
    const { issueCertificate } = await pki();
    return issueCertificate({ ...wanted, publicKey: request.publicKey });
  },
};

/** The authority of the services' certificates. */
export function createCertificates(config: VaultConfig, deps: CertificatesDeps) {
  const { pool, ...shared } = deps;
  const parsed = parseServiceHosts(config.certificateHosts);
  // The configuration has checked it.
  const hosts = "hosts" in parsed ? parsed.hosts : new Map<string, readonly string[]>();
  return new CertificateAuthority({
    ...shared,
    authorities: createAuthorityReader(pool),
    format: CERTIFICATE_FORMAT,
    certificateTtlMs: config.certificateTtlMs,
    rotationAgeMs: config.caRotationAgeMs,
    namesOf: (service) =>
      namesOfService(spiffeIdOf(config.tlsTrustDomain, service), service, hosts),
  });
}

/** What lies under it. */
export type CertificatesDeps = Pick<
  CertificateAuthorityOptions,
  "transactions" | "crypto" | "events" | "ids"
> & { readonly pool: Pool };
