/** What a certificate is for: its alternative names. */
export interface CertificateNames {
  readonly uris: readonly string[];
  readonly dnsNames: readonly string[];
  readonly ipAddresses: readonly string[];
}
