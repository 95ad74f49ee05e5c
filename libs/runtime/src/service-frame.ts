import { ConfigError, type ConfigManager } from "@nexus/core";
import {
  createRpcChannel,
  createRpcServer,
  type RpcChannel,
  type RpcServer,
  type TlsOptions,
  type TokenSource,
  type TokenVerifier,
} from "@nexus/rpc";
import {
  type Clock,
  createIds,
  createLogger,
  type Ids,
  type Logger,
  systemClock,
} from "@nexus/shared";
import { createMetrics, type Metrics, type OpsServer, startOpsServer } from "@nexus/telemetry";
import { createDisposeStack, type DisposeStack } from "./dispose-stack.ts";
import { assertTransportSafe, type FrameConfig, loadTls } from "./frame-config.ts";
import { createFrameIdentity, type FrameIdentity } from "./frame-identity.ts";
import { createLoop, type Loop, type LoopOptions } from "./loop.ts";
import { createReadinessChecks, type ReadinessCheck, type ReadinessChecks } from "./readiness.ts";
import { retryUntilUp } from "./retry-until-up.ts";

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
  /** Add services to it before start(). */
  readonly server: RpcServer;
  /** Aborts when the service begins to shut down. */
  readonly signal: AbortSignal;
  /** Sets the verifier of a service that is its own source of identity; an override wins over it. */
  provideVerifier(verifier: TokenVerifier): void;
  /** Adds a readiness check. */
  check(name: string, check: ReadinessCheck): void;
  /** Opens a channel with the service's TLS settings, one per address; closed with the frame. */
  channel(address: string): RpcChannel;
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

/** Creates the frame every startServer begins with. The operators' port listens from here on, so that probes see
 * a live service that is not ready while it migrates or waits.
 *
 * Shutdown order: readiness off, calls drained for shutdownGraceMs, loops, clients, stores, operators' port.
 *
 * @example
 * const frame = await createServiceFrame({ service: "registry", config, overrides });
 * const pool = createPool({ ... });
 * frame.defer("postgres", () => pool.close());
 * frame.check("postgres", () => pool.query("SELECT 1"));
 * await frame.untilUp("postgres", () => migrate(pool, { ... }));
 * frame.server.add(RegistryService, createHandlers({ ... }));
 * return frame.start();
 */
export async function createServiceFrame(options: ServiceFrameOptions): Promise<ServiceFrame> {
  const config = options.config.current;
  assertTransportSafe(options.service, config);
  const tls = loadTls(options.service, config);
  const logger =
    options.overrides?.logger ?? createLogger({ service: options.service, level: config.logLevel });
  const frame = new Frame(options, logger, tls);
  await frame.openOps();
  return frame;
}

type Phase = "starting" | "serving" | "draining";

class Frame implements ServiceFrame {
  readonly service: string;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly clock: Clock;
  readonly ids: Ids;
  readonly server: RpcServer;
  readonly signal: AbortSignal;
  readonly #config: ConfigManager<FrameConfig>;
  readonly #tls: TlsOptions | undefined;
  readonly #identity: FrameIdentity;
  readonly #stopping = new AbortController();
  readonly #stack: DisposeStack = createDisposeStack();
  readonly #checks: ReadinessChecks = createReadinessChecks();
  readonly #channels = new Map<string, RpcChannel>();
  readonly #loops: Loop[] = [];
  #ops: OpsServer | undefined;
  #phase: Phase = "starting";

  constructor(options: ServiceFrameOptions, logger: Logger, tls: TlsOptions | undefined) {
    const { config, overrides = {} } = options;
    this.service = options.service;
    this.logger = logger;
    this.metrics = createMetrics(options.service);
    this.clock = overrides.clock ?? systemClock;
    this.ids = overrides.ids ?? createIds(this.clock);
    this.#config = config;
    this.#tls = tls;
    this.signal = this.#linkSignal(overrides.signal);
    this.#stack.defer("operators' port", () => this.#ops?.close());
    this.#identity = this.#createIdentity(overrides);
    this.#checks.add("phase", () => this.#assertServing());
    this.#checks.add("identity", () => this.#identity.assertReady());
    this.server = this.#createServer();
    this.#followLogLevel();
  }

  get verifier(): TokenVerifier {
    return this.#identity.verifier;
  }

  get tokens(): TokenSource {
    return this.#identity.tokens;
  }

  async openOps(): Promise<void> {
    const { host, opsPort } = this.#config.current;
    try {
      this.#ops = await startOpsServer({
        host,
        port: opsPort,
        metrics: this.metrics,
        readiness: () => this.#checks.evaluate(),
      });
    } catch (error) {
      await this[Symbol.asyncDispose]();
      throw portError(this.service, "OPS_PORT", opsPort, error);
    }
  }

  provideVerifier(verifier: TokenVerifier): void {
    this.#identity.provide(verifier);
  }

  check(name: string, check: ReadinessCheck): void {
    this.#checks.add(name, check);
  }

  channel(address: string): RpcChannel {
    const known = this.#channels.get(address);
    if (known !== undefined) return known;
    const tls = this.#tls === undefined ? {} : { tls: this.#tls };
    const { messageMaxBytes } = this.#config.current;
    const channel = createRpcChannel({ address, maxMessageBytes: messageMaxBytes, ...tls });
    this.#channels.set(address, channel);
    this.#stack.defer(`channel to ${address}`, () => channel.close());
    return channel;
  }

  loop(options: Omit<LoopOptions, "logger">): Loop {
    const labels = ["loop", "outcome"] as const;
    const steps = this.metrics.counter({
      name: "loop_steps_total",
      help: "Steps of background loops by outcome.",
      labels,
    });
    const step = async (signal: AbortSignal) => {
      try {
        await options.step(signal);
        steps.inc({ loop: options.name, outcome: "ok" });
      } catch (error) {
        steps.inc({ loop: options.name, outcome: "error" });
        throw error;
      }
    };
    const loop = createLoop({ ...options, step, logger: this.logger });
    this.#loops.push(loop);
    this.#stack.defer(`loop ${options.name}`, () => loop.stop());
    return loop;
  }

  defer(name: string, close: () => unknown): void {
    this.#stack.defer(name, close);
  }

  untilUp<T>(what: string, fn: () => Promise<T>): Promise<T> {
    return retryUntilUp({ what, fn, signal: this.signal, logger: this.logger });
  }

  async start(): Promise<RunningService> {
    try {
      const address = await this.#listen();
      for (const loop of this.#loops) loop.start();
      this.#phase = "serving";
      const opsAddress = this.#ops?.address ?? "";
      this.logger.info({ address, opsAddress }, "service started");
      return { address, opsAddress, [Symbol.asyncDispose]: () => this[Symbol.asyncDispose]() };
    } catch (error) {
      await this[Symbol.asyncDispose]();
      throw error;
    }
  }

  [Symbol.asyncDispose](): PromiseLike<void> {
    this.#phase = "draining";
    this.#stopping.abort();
    return this.#stack[Symbol.asyncDispose]();
  }

  async #listen(): Promise<string> {
    const { grpcPort, shutdownGraceMs } = this.#config.current;
    this.#stack.defer("gRPC port", () => this.server.close(shutdownGraceMs));
    try {
      return (await this.server.listen()).address;
    } catch (error) {
      throw portError(this.service, "GRPC_PORT", grpcPort, error);
    }
  }

  #createServer(): RpcServer {
    const config = this.#config.current;
    return createRpcServer({
      service: this.service,
      host: config.host,
      port: config.grpcPort,
      logger: this.logger,
      metrics: this.metrics,
      verifier: this.#identity.verifier,
      limits: {
        maxMessageBytes: config.messageMaxBytes,
        maxConnectionAgeMs: config.maxConnectionAgeMs,
        defaultDeadlineMs: config.requestTimeoutMs,
      },
      ...(this.#tls === undefined ? {} : { tls: this.#tls }),
    });
  }

  #createIdentity(overrides: ServerOverrides): FrameIdentity {
    const { vaultAddress, principalId, clientSecret } = this.#config.current;
    const usesVault =
      overrides.verifier === undefined &&
      vaultAddress !== undefined &&
      principalId !== undefined &&
      clientSecret !== undefined;
    const identity = createFrameIdentity({
      logger: this.logger,
      verifier: overrides.verifier,
      tokens: overrides.tokens,
      vault: usesVault
        ? { channel: this.channel(vaultAddress), principalId, clientSecret }
        : undefined,
    });
    this.#stack.defer("token verifier", () => identity.close());
    return identity;
  }

  /** Joins the outer signal with the frame's own, so that work in the frame needs to watch only one. */
  #linkSignal(outer: AbortSignal | undefined): AbortSignal {
    const own = this.#stopping.signal;
    return outer === undefined ? own : AbortSignal.any([own, outer]);
  }

  #assertServing(): void {
    if (this.#phase !== "serving") throw new Error(this.#phase);
  }

  #followLogLevel(): void {
    const stop = this.#config.subscribe("logLevel", (level) => {
      this.logger.level = level;
    });
    this.#stack.defer("log level", stop);
  }
}

/** A taken port is a mistake of configuration, so it is told like one. */
function portError(service: string, thing: string, port: number, cause: unknown): unknown {
  const text = cause instanceof Error ? cause.message : "";
  if (!text.includes("EADDRINUSE") && !text.includes("EACCES")) return cause;
  const env = `NEXUS_${service.toUpperCase().replaceAll("-", "_")}_${thing}`;
  const why = text.includes("EACCES") ? "which this user may not open" : "which is in use";
  return new ConfigError(service, [{ env, problem: `is ${port}, ${why}`, example: "0" }]);
}
