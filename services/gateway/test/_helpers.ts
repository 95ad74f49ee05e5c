/** A gateway before real gRPC servers of this process, which play the services behind it. */
import type { DescService } from "@bufbuild/protobuf";
import {
  createRpcChannel,
  createRpcClient,
  createRpcServer,
  type RpcChannel,
  type RpcChannelOptions,
  type RpcClient,
  type RpcServer,
  type ServiceImplementation,
} from "@nexus/rpc";
import { type Clock, createSilentLogger, type Logger, NexusError } from "@nexus/shared";
import { createMetrics } from "@nexus/telemetry";
import { createTestIdentity, type TestIdentity, testConfig } from "@nexus/testkit";
import { type GatewayConfig, gatewaySchema } from "../src/config.ts";
import type { Upstream } from "../src/domain/routes.ts";
import { type RunningGateway, startServer } from "../src/server.ts";

/** Nobody listens there. */
const NOWHERE = "127.0.0.1:9";
const INNER_STREAMS = 100_000;

/** What a test wants of its gateway. */
export interface RigOptions {
  /** Adds contracts to the services that are there; the others cannot be reached. */
  readonly upstreams?: Partial<Record<Upstream, (server: RpcServer) => void>>;
  /** Other addresses for upstreams, e.g. of a proxy. */
  readonly through?: (upstream: Upstream, address: string) => Promise<string>;
  readonly config?: Partial<GatewayConfig>;
  readonly clock?: Clock;
  readonly logger?: Logger;
}

/** A service behind the gateway. */
export interface RunningUpstream {
  readonly server: RpcServer;
  readonly address: string;
}

/** A running gateway and what a test does with it. */
export class GatewayRig implements AsyncDisposable {
  readonly identity: TestIdentity;
  readonly gateway: RunningGateway;
  readonly channel: RpcChannel;
  readonly upstreams: ReadonlyMap<Upstream, RunningUpstream>;
  readonly #channels: RpcChannel[] = [];

  constructor(
    identity: TestIdentity,
    gateway: RunningGateway,
    upstreams: ReadonlyMap<Upstream, RunningUpstream>,
  ) {
    this.identity = identity;
    this.gateway = gateway;
    this.upstreams = upstreams;
    this.channel = this.openChannel();
  }

  /** A channel around the gateway. */
  openUpstreamChannel(upstream: Upstream): RpcChannel {
    const channel = createRpcChannel({ address: this.upstreams.get(upstream)?.address ?? NOWHERE });
    this.#channels.push(channel);
    return channel;
  }

  /** Another channel to the gateway; other options make it another connection. */
  openChannel(options: Partial<RpcChannelOptions> = {}): RpcChannel {
    const channel = createRpcChannel({ address: this.gateway.address, ...options });
    this.#channels.push(channel);
    return channel;
  }

  client<S extends DescService>(desc: S): RpcClient<S> {
    return createRpcClient(desc, this.channel);
  }

  /** A token that may do everything, or what is given. */
  token(scopes: readonly string[] = ["*"], sub = "ann"): Promise<string> {
    return this.identity.token({ sub, scopes });
  }

  /** An agent's. */
  agentToken(sub: string): Promise<string> {
    return this.identity.token({ sub, kind: "agent" });
  }

  /** The lines of /metrics that begin so. */
  async metrics(prefix: string): Promise<string[]> {
    const response = await fetch(`http://${this.gateway.opsAddress}/metrics`);
    return (await response.text()).split("\n").filter((line) => line.startsWith(prefix));
  }

  get http(): string {
    return `http://${this.gateway.httpAddress}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const channel of this.#channels) channel.close();
    await this.gateway[Symbol.asyncDispose]();
    await Promise.all([...this.upstreams.values()].map(({ server }) => server.close(0)));
  }
}

/** Keeps the rigs of a test file and closes them after each test. */
export class Rigs {
  readonly #open: AsyncDisposable[] = [];

  async start(options?: RigOptions): Promise<GatewayRig> {
    const rig = await startRig(options);
    this.#open.push(rig);
    return rig;
  }

  keep<T extends AsyncDisposable>(resource: T): T {
    this.#open.push(resource);
    return resource;
  }

  async close(): Promise<void> {
    for (const resource of this.#open.splice(0).reverse()) await resource[Symbol.asyncDispose]();
  }
}

/** Starts upstreams and a gateway before them. Upstreams verify tokens themselves, as real services do. */
async function startRig(options: RigOptions = {}): Promise<GatewayRig> {
  const identity = createTestIdentity();
  const upstreams = new Map<Upstream, RunningUpstream>();
  const addresses = new Map<Upstream, string>();
  for (const [name, build] of Object.entries(options.upstreams ?? {})) {
    const upstream = name as Upstream;
    const server = startUpstream(upstream, identity);
    build(server);
    const { address } = await server.listen();
    upstreams.set(upstream, { server, address });
    addresses.set(upstream, (await options.through?.(upstream, address)) ?? address);
  }
  const at = (name: Upstream) => addresses.get(name) ?? NOWHERE;
  const config = testConfig(gatewaySchema, {
    shutdownGraceMs: 1_000,
    registryAddress: at("registry"),
    orchestratorAddress: at("orchestrator"),
    meshRouterAddress: at("mesh-router"),
    vaultAddress: at("vault"),
    insightAddress: at("insight"),
    ...options.config,
  });
  const gateway = await startServer(config, {
    verifier: identity.verifier,
    tokens: identity.tokens({ sub: "gateway", kind: "service" }),
    logger: options.logger ?? createSilentLogger(),
    ...(options.clock === undefined ? {} : { clock: options.clock }),
  });
  return new GatewayRig(identity, gateway, upstreams);
}

function startUpstream(service: Upstream, { verifier }: TestIdentity): RpcServer {
  return createRpcServer({
    service,
    host: "127.0.0.1",
    port: 0,
    logger: createSilentLogger(),
    metrics: createMetrics(service),
    verifier,
    limits: { maxConcurrentStreams: INNER_STREAMS },
  });
}

/** Fills every method that `some` leaves out with one that answers UNIMPLEMENTED. */
export function complete<S extends DescService>(
  desc: S,
  some: Partial<ServiceImplementation<S>>,
): ServiceImplementation<S> {
  const all: Record<string, unknown> = {};
  for (const method of desc.methods) {
    all[method.localName] = () => {
      throw new NexusError({
        kind: "unimplemented",
        reason: "METHOD_NOT_FOUND",
        message: `The test has no ${method.name}.`,
      });
    };
  }
  return { ...all, ...some } as ServiceImplementation<S>;
}

/** Collects what an iterable yields, and what it throws at its end. */
export async function drainAll<T>(source: AsyncIterable<T>) {
  const items: T[] = [];
  try {
    for await (const item of source) items.push(item);
    return { items, error: undefined };
  } catch (error) {
    return { items, error: NexusError.from(error) };
  }
}

/** Returns the error that a call fails with; fails when it does not. */
export async function failureOf(call: Promise<unknown>): Promise<NexusError> {
  try {
    await call;
  } catch (error) {
    return NexusError.from(error);
  }
  throw new Error("The call did not fail.");
}
