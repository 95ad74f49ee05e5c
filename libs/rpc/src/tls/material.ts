import type { SecureContextOptions } from "node:tls";

/** Certificates and key, PEM in memory. */
export interface TlsMaterial {
  /** Certificate chain. Required for servers; for clients only when the server asks for one. */
  readonly cert?: Buffer;
  readonly key?: Buffer;
  /** Certificates that the other side's chain must end in; default: those of the system. */
  readonly ca?: Buffer;
}

/** Material that may be replaced while connections are open. New connections take what is current; established ones
 * keep what they began with. */
export interface TlsSource {
  /** Undefined while there is none yet: a server drops connections and a client's attempts fail until there is. */
  readonly current: TlsMaterial | undefined;
  /** Calls `fn` after each change; returns the function that ends it. */
  onChange(fn: () => void): () => void;
}

/** What a server asks of a connecting client: no certificate; one, if it has one; or one without which the handshake fails. */
export type ClientCertificates = "none" | "optional" | "required";

/** How one side of a connection uses TLS. Absent altogether means plaintext. */
export interface TlsOptions {
  readonly source: TlsSource;
  /** Servers. @default "none" */
  readonly clientCertificates?: ClientCertificates;
  /** Services of this deployment are named `spiffe://<trustDomain>/nexus/<service>`. On a server that asks for client
   * certificates it turns on the allow-list of the contracts; on a channel it says which names count. */
  readonly trustDomain?: string;
  /** Channels: the service that has to be at the other end, by the name in its certificate. Not given: the certificate has
   * to be for the host that was dialled, as on the web. */
  readonly peer?: string;
}

/** Every peer of ours has TLS 1.3 (Node 20, BoringSSL, Go, current browsers), and it alone hides certificates from
 * onlookers and knows no weak suites, so there is no switch for less. */
const MIN_VERSION = "TLSv1.3";

/** TLS with material that never changes. Errors: a plain Error when half of a pair is missing. */
export function fixedTls(material: TlsMaterial, rest: Omit<TlsOptions, "source"> = {}): TlsOptions {
  if ((material.cert === undefined) !== (material.key === undefined)) {
    throw new Error("A certificate and its key go together.");
  }
  return { ...rest, source: { current: material, onChange: () => () => {} } };
}

/** What Node makes connections from. */
export function contextOptions({ cert, key, ca }: TlsMaterial): SecureContextOptions {
  return {
    minVersion: MIN_VERSION,
    ...(cert === undefined ? {} : { cert }),
    ...(key === undefined ? {} : { key }),
    ...(ca === undefined ? {} : { ca }),
  };
}
