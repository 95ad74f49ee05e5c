import type { ConfigManager } from "@nexus/core";
import type { RpcChannel, RpcServer, TlsOptions, TokenSource, TokenVerifier } from "@nexus/rpc";
import type { Clock, Ids, Logger } from "@nexus/shared";
import type { Metrics } from "@nexus/telemetry";
import type { FrameConfig } from "./frame-config.ts";
import type { Loop, LoopOptions } from "./loop.ts";
import type { ReadinessCheck } from "./readiness.ts";
import type { CertificateIssuer } from "./tls/certificate-agent.ts";

/** A service that serves. Disposing of it drains and closes everything it owns. */
export interface RunningService extends AsyncDisposable {
  /** `host:port` of the gRPC port. */
  readonly address: string;
  /** `host:port` of the operators' port. */
  readonly opsAddress: string;
}

/** What a test, or vault, may put in place of the frame's own parts. */
export interface ServerOverrides {
  /** Takes the place of following vault: no channel to vault is opened. */
  readonly verifier?: TokenVerifier;
  /** The service's own tokens. */
  readonly tokens?: TokenSource;
  readonly logger?: Logger;
  readonly clock?: Clock;
  readonly ids?: Ids;
  /** Aborts a start that waits for a dependency; runService passes the one that SIGTERM aborts. */
  readonly signal?: AbortSignal;
}

/** What createServiceFrame needs. */
export interface ServiceFrameOptions {
  /** Short name, e.g. `registry`. */
  readonly service: string;
  readonly config: ConfigManager<FrameConfig>;
  readonly overrides?: ServerOverrides | undefined;
  /** How long a connection to the service may be silent before it is given up, milliseconds; the server's default otherwise. */
  readonly silentMaxMs?: number;
}

/** The parts that every service is made of. */
export interface ServiceFrame extends AsyncDisposable {
  readonly service: string;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly clock: Clock;
  readonly ids: Ids;
  /** Verifies callers. Refuses with unavailable/IDENTITY_UNAVAILABLE until vault was reached once. */
  readonly verifier: TokenVerifier;
  /** The service's own tokens, for what it does on its own behalf. */
  readonly tokens: TokenSource;
  /** For a port that the service opens itself to users and agents; undefined means plaintext. */
  readonly edgeTls: TlsOptions | undefined;
  /** Add services to it before start(). */
  readonly server: RpcServer;
  /** Aborts when the service begins to shut down. */
  readonly signal: AbortSignal;
  /** Sets the verifier of a service that is its own source of identity; an override wins over it. */
  provideVerifier(verifier: TokenVerifier): void;
  /** Sets who signs the certificate of a service that is its own authority; has an effect where NEXUS_TLS_ISSUER is `vault`. `isDown` says
   * which errors a start waits out; default those of kind unavailable. */
  provideIssuer(issue: CertificateIssuer, isDown?: (error: unknown) => boolean): void;
  /** Adds a readiness check. */
  check(name: string, check: ReadinessCheck): void;
  /** Opens a channel with the service's TLS settings, one per address; closed with the frame. `peer` is the service that has to be
   * there, e.g. `registry`; undefined: whoever the host's certificate is for, which no service of ours has to have. */
  channel(address: string, peer: string | undefined): RpcChannel;
  /** As channel(), but not kept: for addresses that come and go. The caller closes it. */
  openChannel(address: string, peer: string | undefined): RpcChannel;
  /** Creates a loop that start() starts and the shutdown stops; its steps are counted. */
  loop(options: Omit<LoopOptions, "logger">): Loop;
  /** Closes something on shutdown, before all that was added earlier: stores first, then clients, then loops. */
  defer(name: string, close: () => unknown): void;
  /** Repeats `fn` until it succeeds, with growing pauses; for what a start needs from elsewhere, e.g. migrations.
   * Only `unavailable` errors are repeated. Errors: others pass through; cancelled/CANCELLED when shut down. */
  untilUp<T>(what: string, fn: () => Promise<T>): Promise<T>;
  /** Listens, starts the loops and turns ready. Call it last. On an error everything is closed. */
  start(): Promise<RunningService>;
}
