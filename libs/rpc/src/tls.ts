import { type ChannelCredentials, credentials, ServerCredentials } from "@grpc/grpc-js";

/** TLS material, PEM in memory. Absent altogether means plaintext. */
export interface TlsOptions {
  /** Certificate chain. Required for servers; for clients only when the server asks for one. */
  readonly cert?: Buffer;
  readonly key?: Buffer;
  /** Certificates that the other side's chain must end in; default: those of the system. */
  readonly ca?: Buffer;
  /** Servers: refuse clients without a certificate signed by `ca` (mTLS). */
  readonly requireClientCert?: boolean;
}

/** Builds a server's credentials. Errors: a plain Error when half of a pair is missing. */
export function serverCredentials(tls: TlsOptions | undefined): ServerCredentials {
  if (tls === undefined) return ServerCredentials.createInsecure();
  const { cert, key, ca } = tls;
  if (cert === undefined || key === undefined) {
    throw new Error("TLS on a server needs both a certificate and its key.");
  }
  if (tls.requireClientCert === true && ca === undefined) {
    throw new Error("Client certificates can be required only with the CA that signs them.");
  }
  return ServerCredentials.createSsl(
    ca ?? null,
    [{ cert_chain: cert, private_key: key }],
    tls.requireClientCert ?? false,
  );
}

/** Builds a client's credentials. Errors: a plain Error when half of a pair is missing. */
export function clientCredentials(tls: TlsOptions | undefined): ChannelCredentials {
  if (tls === undefined) return credentials.createInsecure();
  const { cert, key, ca } = tls;
  if ((cert === undefined) !== (key === undefined)) {
    throw new Error("A client certificate and its key go together.");
  }
  return credentials.createSsl(ca ?? null, key ?? null, cert ?? null);
}
