import { isIP } from "node:net";
import { createSecureContext, type SecureContext, connect as tlsConnect } from "node:tls";
import { CallCredentials, ChannelCredentials } from "@grpc/grpc-js";
import { contextOptions, type TlsMaterial, type TlsOptions } from "./material.ts";
import { createPeerCheck, hostsOf, type PeerCheck } from "./peer-check.ts";

type Connector = ReturnType<ChannelCredentials["_createSecureConnector"]>;
type ConnectorArguments = Parameters<ChannelCredentials["_createSecureConnector"]>;
type Socket = Parameters<Connector["connect"]>[0];
type Connected = Awaited<ReturnType<Connector["connect"]>>;

/** How a channel's connections begin. */
export interface ClientCredentialsOptions {
  readonly tls: TlsOptions | undefined;
  readonly address: string;
  /** How long a new connection may be without a byte of its server. */
  readonly handshakeMaxMs: number;
}

/** Builds the credentials of a channel to `address`. */
export function clientCredentials(options: ClientCredentialsOptions): ChannelCredentials {
  const { tls, address, handshakeMaxMs } = options;
  const credentials =
    tls === undefined
      ? ChannelCredentials.createInsecure()
      : new LiveChannelCredentials(tls, address);
  return new BoundedCredentials(credentials, handshakeMaxMs);
}

/** Credentials that give up a connection whose server says nothing: whoever accepted it may have forgotten it. Without that, the transport
 * goes on waiting for the first frame, and opens no other connection meanwhile. */
class BoundedCredentials extends ChannelCredentials {
  readonly #credentials: ChannelCredentials;
  readonly #handshakeMaxMs: number;

  constructor(credentials: ChannelCredentials, handshakeMaxMs: number) {
    super();
    this.#credentials = credentials;
    this.#handshakeMaxMs = handshakeMaxMs;
  }

  override _isSecure(): boolean {
    return this.#credentials._isSecure();
  }

  /** Channels whose credentials are equal share connections. */
  override _equals(other: ChannelCredentials): boolean {
    return (
      other instanceof BoundedCredentials &&
      other.#handshakeMaxMs === this.#handshakeMaxMs &&
      this.#credentials._equals(other.#credentials)
    );
  }

  override _createSecureConnector(...args: ConnectorArguments): Connector {
    const connector = this.#credentials._createSecureConnector(...args);
    return {
      connect: (socket) => this.#connect(connector, socket),
      waitForReady: () => connector.waitForReady(),
      getCallCredentials: () => connector.getCallCredentials(),
      destroy: () => connector.destroy(),
    };
  }

  async #connect(connector: Connector, socket: Socket): Promise<Connected> {
    let heard = (): number => 0;
    const giveUp = (): void => {
      if (heard() === 0) socket.destroy();
    };
    const timer = setTimeout(giveUp, this.#handshakeMaxMs).unref();
    socket.once("close", () => clearTimeout(timer));
    const connected = await connector.connect(socket);
    heard = () => connected.socket.bytesRead;
    return connected;
  }
}

/** Credentials that take the current material of a source for each new connection. */
class LiveChannelCredentials extends ChannelCredentials {
  readonly #source: TlsOptions["source"];
  readonly #checkPeer: PeerCheck;
  readonly #servername: string | undefined;
  #made: { readonly of: TlsMaterial; readonly context: SecureContext } | undefined;

  constructor(tls: TlsOptions, address: string) {
    super();
    const hosts = hostsOf(address);
    this.#source = tls.source;
    this.#checkPeer = createPeerCheck(tls, hosts);
    // A server that has several names is told which one is meant, if it is a name.
    const [host = ""] = hosts;
    this.#servername = hosts.length === 1 && isIP(host) === 0 ? host : undefined;
  }

  override _isSecure(): boolean {
    return true;
  }

  override _equals(other: ChannelCredentials): boolean {
    return this === other;
  }

  override _createSecureConnector(...args: ConnectorArguments): Connector {
    const [, , callCredentials = CallCredentials.createEmpty()] = args;
    return {
      connect: (socket) => this.#connect(socket),
      waitForReady: () => Promise.resolve(),
      getCallCredentials: () => callCredentials,
      destroy: () => {},
    };
  }

  /** Errors: any, which fails this attempt to connect; the transport tries again by itself. */
  #connect(socket: Socket): Promise<Connected> {
    return new Promise((resolve, reject) => {
      const secure = tlsConnect({
        socket,
        secureContext: this.#currentContext(),
        ALPNProtocols: ["h2"],
        checkServerIdentity: (_host, certificate) => this.#checkPeer(certificate),
        ...(this.#servername === undefined ? {} : { servername: this.#servername }),
      });
      secure.once("secureConnect", () => resolve({ socket: secure, secure: true }));
      secure.once("close", () => reject(new Error("The connection ended within its handshake.")));
      // Stays for the life of the connection: an error that nobody hears would end the process.
      secure.on("error", reject);
    });
  }

  #currentContext(): SecureContext {
    const { current } = this.#source;
    if (current === undefined) throw new Error("There is no certificate yet.");
    if (this.#made?.of !== current) {
      this.#made = { of: current, context: createSecureContext(contextOptions(current)) };
    }
    return this.#made.context;
  }
}
