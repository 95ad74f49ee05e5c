import { ServerCredentials } from "@grpc/grpc-js";
import { contextOptions, type TlsOptions } from "./material.ts";

/** Node's own two minutes would let silent connections pile up. */
const HANDSHAKE_TIMEOUT_MS = 10_000;

/** Builds a server's credentials. Errors: a plain Error when the material is there and is no pair, or when client
 * certificates are asked for without the authority that signs them. */
export function serverCredentials(tls: TlsOptions | undefined): ServerCredentials {
  return tls === undefined ? ServerCredentials.createInsecure() : new LiveServerCredentials(tls);
}

/** Credentials that follow a source. The certificate providers of grpc-js do the same, but read files by themselves, and
 * forget the least TLS version at the first change: Node takes its default again when it is not told each time. */
class LiveServerCredentials extends ServerCredentials {
  readonly #tls: TlsOptions;
  #unsubscribe: (() => void) | undefined;

  constructor(tls: TlsOptions) {
    const { clientCertificates = "none" } = tls;
    super(
      {
        requestCert: clientCertificates !== "none",
        rejectUnauthorized: clientCertificates === "required",
        handshakeTimeout: HANDSHAKE_TIMEOUT_MS,
      },
      contextOf(tls),
    );
    this.#tls = tls;
  }

  // The transport adds a watcher for each port that it binds and removes it when the port closes.
  override _addWatcher(watcher: Parameters<ServerCredentials["_addWatcher"]>[0]): void {
    super._addWatcher(watcher);
    this.#unsubscribe ??= this.#tls.source.onChange(() => this.#update());
    // The source may have changed between the making of these credentials and the port.
    this.#update();
  }

  override _removeWatcher(watcher: Parameters<ServerCredentials["_removeWatcher"]>[0]): void {
    super._removeWatcher(watcher);
    if (this.getWatcherCount() > 0) return;
    this.#unsubscribe?.();
    this.#unsubscribe = undefined;
  }

  override _equals(other: ServerCredentials): boolean {
    return this === other;
  }

  #update(): void {
    this.updateSecureContextOptions(contextOf(this.#tls) ?? null);
  }
}

function contextOf({ source, clientCertificates = "none" }: TlsOptions) {
  const { current } = source;
  if (current === undefined) return undefined;
  if (current.cert === undefined || current.key === undefined) {
    throw new Error("TLS on a server needs both a certificate and its key.");
  }
  if (clientCertificates !== "none" && current.ca === undefined) {
    throw new Error("Client certificates can be asked for only with the CA that signs them.");
  }
  return contextOptions(current);
}
