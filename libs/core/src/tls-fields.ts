import { bool, oneOf, string } from "./text-fields.ts";

/** How a service's connections are protected. */
export const TLS_MODES = ["off", "server", "mutual"] as const;

/** Where a service's certificate comes from. */
export const TLS_ISSUERS = ["files", "vault"] as const;

const TRUST_DOMAIN = /^[a-z0-9][a-z0-9.-]{0,252}$/;

/** The TLS settings. They are called the same in every service, so that one block of variables serves a whole deployment. */
export function tlsFields() {
  return {
    tlsMode: oneOf({
      env: "NEXUS_TLS_MODE",
      values: TLS_MODES,
      default: "off",
      about:
        "`off`: plaintext; `server`: every gRPC and HTTP port speaks TLS 1.3 and nothing else; `mutual`: besides, services prove themselves to each other by certificate.",
    }),
    tlsCertFile: string({
      env: "NEXUS_TLS_CERT_FILE",
      optional: true,
      together: "tls",
      example: "/etc/nexus/tls/tls.crt",
      about:
        "PEM certificate chain, for the ports and, in mode `mutual`, for calls to other services. Read again when it changes, and at SIGHUP.",
    }),
    tlsKeyFile: string({
      env: "NEXUS_TLS_KEY_FILE",
      optional: true,
      together: "tls",
      example: "/etc/nexus/tls/tls.key",
      about:
        "PEM private key of that certificate. Refused when its mode is looser than 0600, but for a Secret that Kubernetes mounts for the pod's group.",
    }),
    tlsCaFile: string({
      env: "NEXUS_TLS_CA_FILE",
      optional: true,
      example: "/etc/nexus/tls/ca.crt",
      about:
        "PEM certificates that the other side's chain must end in; needed in mode `mutual`. Not set: those of the system.",
    }),
    tlsTrustDomain: string({
      env: "NEXUS_TLS_TRUST_DOMAIN",
      default: "nexus.local",
      pattern: TRUST_DOMAIN,
      about:
        "Certificates name services `spiffe://<trust domain>/nexus/<service>`; certificates of another domain name nobody.",
    }),
    tlsIssuer: oneOf({
      env: "NEXUS_TLS_ISSUER",
      values: TLS_ISSUERS,
      default: "files",
      about:
        "`files`: somebody else writes the three files; `vault`: the service gets its certificate from vault, writes the files, and renews them at two thirds of their life.",
    }),
    tlsBootstrapCaFile: string({
      env: "NEXUS_TLS_BOOTSTRAP_CA_FILE",
      optional: true,
      example: "/etc/nexus/bootstrap/ca.crt",
      about:
        "With the issuer `vault`: the CA certificates by which a service without a certificate yet knows vault. Not set: NEXUS_TLS_CA_FILE has to be there before the first start.",
    }),
    tlsOps: bool({
      env: "NEXUS_TLS_OPS",
      default: false,
      about:
        "Serve /metrics, /live and /ready over TLS as well, without client certificates. They hold no secret, and probes and scrapers must be told.",
    }),
  };
}

/** The settings above, as far as their check looks at them. */
export interface TlsSettings {
  readonly tlsMode: string;
  readonly tlsCertFile: string | undefined;
  readonly tlsCaFile: string | undefined;
  readonly tlsIssuer: string;
  readonly tlsOps: boolean;
}

/** What is wrong between the TLS settings. */
export function tlsProblems(
  settings: TlsSettings,
): readonly { readonly field: keyof TlsSettings; readonly problem: string }[] {
  const { tlsMode, tlsCertFile, tlsCaFile, tlsIssuer, tlsOps } = settings;
  const problems: { field: keyof TlsSettings; problem: string }[] = [];
  if (tlsMode === "off") {
    const problem = "needs NEXUS_TLS_MODE `server` or `mutual`; it is `off`";
    // Certificates that nothing uses are a mistake that would serve plaintext.
    if (tlsCertFile !== undefined) problems.push({ field: "tlsCertFile", problem });
    if (tlsIssuer !== "files") problems.push({ field: "tlsIssuer", problem });
    if (tlsOps) problems.push({ field: "tlsOps", problem });
    return problems;
  }
  if (tlsCertFile === undefined) {
    const problem = `is not set, but NEXUS_TLS_MODE is \`${tlsMode}\``;
    problems.push({ field: "tlsCertFile", problem });
  }
  if (tlsCaFile === undefined && (tlsMode === "mutual" || tlsIssuer === "vault")) {
    const why = tlsMode === "mutual" ? "NEXUS_TLS_MODE is `mutual`" : "NEXUS_TLS_ISSUER is `vault`";
    problems.push({ field: "tlsCaFile", problem: `is not set, but ${why}` });
  }
  return problems;
}
