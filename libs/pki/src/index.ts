/** @nexus/pki: makes X.509 certificates and requests for them. Node reads certificates and writes none.
 *
 * Loading it costs some 100 ms, so import it where it is used: `await import("@nexus/pki")`. */
export { type Authority, createAuthority, type NewAuthority } from "./authority.ts";
export { issueCertificate, type NewCertificate } from "./certificate.ts";
export type { CertificateNames } from "./certificate-names.ts";
export {
  type CertificateRequest,
  createCertificateRequest,
  type RequestedCertificate,
  readCertificateRequest,
} from "./certificate-request.ts";
