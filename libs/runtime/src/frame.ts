import type { ConfigManager } from "@nexus/core";
import {
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
  createPerformanceTimers,
  type Ids,
  type Logger,
  NexusError,
  systemClock,
} from "@nexus/shared";
import { createMetrics, type Metrics, type OpsServer, startOpsServer } from "@nexus/telemetry";
import { createDisposeStack, type DisposeStack } from "./dispose-stack.ts";
import type { FrameConfig } from "./frame-config.ts";
import type {
  RunningService,
  ServerOverrides,
  ServiceFrame,
  ServiceFrameOptions,
} from "./frame-contract.ts";
import { createFrameIdentity, type FrameIdentity } from "./frame-identity.ts";
import { createLoop, type Loop, type LoopOptions } from "./loop.ts";
import { OpenChannels } from "./pools.ts";
import { portError } from "./port-error.ts";
import { createReadinessChecks, type ReadinessCheck, type ReadinessChecks } from "./readiness.ts";
import { retryUntilUp } from "./retry-until-up.ts";
import { Ticks } from "./ticks.ts";
import { CertificateAgent, type CertificateIssuer } from "./tls/certificate-agent.ts";
import { type FrameTls, followFiles } from "./tls/frame-tls.ts";
import { createVaultIssuer, isIssuerDown } from "./tls/vault-issuer.ts";

/** How often a certificate's age is looked at. */
const CERTIFICATE_CHECK_MS = 1_000;

/** Who signs for itself cannot wait for itself: without a certificate it stops at its start, and says why. */
const isUnavailable = (error: unknown) => NexusError.is(error, "unavailable");

type Phase = "starting" | "serving" | "draining";

/** The one implementation of ServiceFrame. Owns what it makes, and closes it in reverse. */
export class Frame implements ServiceFrame {
  readonly service: string;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly clock: Clock;
  readonly ids: Ids;
  readonly server: RpcServer;
  readonly signal: AbortSignal;
  readonly #tls: FrameTls | undefined;
  readonly #config: ConfigManager<FrameConfig>;
  readonly #identity: FrameIdentity;
  readonly #stopping = new AbortController();
  readonly #stack: DisposeStack = createDisposeStack();
  readonly #checks: ReadinessChecks = createReadinessChecks();
  readonly #channels = new Map<string, RpcChannel>();
  readonly #openChannels: OpenChannels;
  /** What the server has of its own. */
  #transport: Pick<ServiceFrameOptions, "silentMaxMs"> = {};
  readonly #loops: Loop[] = [];
  readonly #ticks = new Ticks();
  /** Of the steps of the start, waits for others included. */
  readonly #timers = createPerformanceTimers();
  #certificates: CertificateAgent | undefined;
  #ops: OpsServer | undefined;
  #phase: Phase = "starting";

  constructor(options: ServiceFrameOptions, logger: Logger, tls: FrameTls | undefined) {
    const { config, overrides = {} } = options;
    this.service = options.service;
    this.logger = logger;
    this.metrics = createMetrics(options.service);
    this.#openChannels = new OpenChannels(this.metrics);
    this.clock = overrides.clock ?? systemClock;
    this.ids = overrides.ids ?? createIds(this.clock);
    this.#config = config;
    if (options.silentMaxMs !== undefined) this.#transport = { silentMaxMs: options.silentMaxMs };
    this.#tls = tls;
    this.signal = this.#linkSignal(overrides.signal);
    this.#stack.defer("operators' port", () => this.#ops?.close());
    this.#followCertificates();
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

  get edgeTls(): TlsOptions | undefined {
    return this.#tls?.edge;
  }

  async openOps(): Promise<void> {
    const { host, opsPort } = this.#config.current;
    try {
      this.#ops = await startOpsServer({
        host,
        port: opsPort,
        metrics: this.metrics,
        readiness: () => this.#checks.evaluate(),
        tls: this.#tls?.ops,
      });
    } catch (error) {
      await this[Symbol.asyncDispose]();
      throw portError(this.service, "OPS_PORT", opsPort, error);
    }
  }

  provideVerifier(verifier: TokenVerifier): void {
    this.#identity.provide(verifier);
  }

  provideIssuer(issue: CertificateIssuer, isDown = isUnavailable): void {
    this.#useIssuer(issue, isDown);
  }

  check(name: string, check: ReadinessCheck): void {
    this.#checks.add(name, check);
  }

  channel(address: string, peer: string | undefined): RpcChannel {
    const key = `${peer ?? ""}@${address}`;
    const known = this.#channels.get(key);
    if (known !== undefined) return known;
    const channel = this.openChannel(address, peer);
    this.#channels.set(key, channel);
    this.#stack.defer(`channel to ${address}`, () => channel.close());
    return channel;
  }

  openChannel(address: string, peer: string | undefined): RpcChannel {
    const tls = this.#tls === undefined ? {} : { tls: this.#tls.channel(peer) };
    const { messageMaxBytes, channelConnections, channelSilentMaxMs } = this.#config.current;
    const options = {
      address,
      maxMessageBytes: messageMaxBytes,
      connections: channelConnections,
      silentMaxMs: channelSilentMaxMs,
      ...tls,
    };
    return this.#openChannels.open(options);
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
    const loop = createLoop({ ...options, step, logger: this.logger }, this.#ticks);
    this.#loops.push(loop);
    this.#stack.defer(`loop ${options.name}`, () => loop.stop());
    return loop;
  }

  defer(name: string, close: () => unknown): void {
    this.#stack.defer(name, close);
  }

  untilUp<T>(what: string, fn: () => Promise<T>): Promise<T> {
    const { signal, logger } = this;
    return this.#timers.time(what, () => retryUntilUp({ what, fn, signal, logger }));
  }

  async start(): Promise<RunningService> {
    try {
      await this.#timers.time("certificates", () => this.#certificates?.ensure(this.signal));
      const address = await this.#timers.time("listen", () => this.#listen());
      for (const loop of this.#loops) loop.start();
      this.#phase = "serving";
      const opsAddress = this.#ops?.address ?? "";
      this.logger.info({ address, opsAddress, tookMs: this.#tookMs() }, "service started");
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

  /** What the start took, by step; `all` is from the start of the process, most of it the loading of code. */
  #tookMs(): Record<string, number> {
    const steps = Object.entries(this.#timers.snapshot());
    const named = steps.map(
      ([what, { meanMs, count }]) => [what, Math.round(meanMs * count)] as const,
    );
    return { all: Math.round(process.uptime() * 1_000), ...Object.fromEntries(named) };
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
      needsAuditor: true,
      limits: {
        maxMessageBytes: config.messageMaxBytes,
        maxConnectionAgeMs: config.maxConnectionAgeMs,
        maxConcurrentStreams: config.maxConcurrentStreams,
        defaultDeadlineMs: config.requestTimeoutMs,
        ...this.#transport,
      },
      ...(this.#tls === undefined ? {} : { tls: this.#tls.inner }),
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
        ? { channel: this.channel(vaultAddress, "vault"), principalId, clientSecret }
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

  #followCertificates(): void {
    if (this.#tls === undefined) return;
    const { logger, metrics, clock } = this;
    const deps = { config: this.#config, logger, metrics, nowMs: () => clock.nowMs() };
    this.#stack.defer("certificates", followFiles(this.#tls, deps));
    if (this.#config.current.tlsIssuer !== "vault") return;
    const issuer = createVaultIssuer(this.#config.current);
    if (issuer === undefined) return;
    this.#stack.defer("channel to the issuer", () => issuer.close());
    this.#useIssuer(issuer.issue, isIssuerDown);
  }

  #useIssuer(issue: CertificateIssuer, isDown: (error: unknown) => boolean): void {
    if (this.#tls === undefined || this.#config.current.tlsIssuer !== "vault") return;
    const { service, logger, clock } = this;
    const nowMs = () => clock.nowMs();
    const agent = new CertificateAgent({
      service,
      files: this.#tls.files,
      issue,
      logger,
      nowMs,
      isDown,
    });
    this.#certificates = agent;
    this.loop({ name: "certificate", intervalMs: CERTIFICATE_CHECK_MS, step: agent.step });
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
