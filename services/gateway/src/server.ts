/** Builds a gateway from its configuration. Reads top to bottom in the order of dependence. */
import { type Auditor, keepRefusalAudit } from "@nexus/audit";
import type { ConfigManager } from "@nexus/core";
import { StatusService } from "@nexus/proto/gateway";
import { AuthService } from "@nexus/proto/vault";
import { createRpcClient, type RpcChannel } from "@nexus/rpc";
import {
  createServiceFrame,
  portError,
  type RunningService,
  type ServerOverrides,
  type ServiceFrame,
} from "@nexus/runtime";
import { addressOfPeer } from "@nexus/shared";
import { Replicas } from "./clients/replicas.ts";
import type { GatewayConfig } from "./config.ts";
import { type Network, tryParseNetwork } from "./domain/network.ts";
import { Objectives } from "./domain/objectives.ts";
import { createRateLimiter } from "./domain/rate-limiter.ts";
import { ROUTES, type Upstream } from "./domain/routes.ts";
import { createGatewayEvents, type GatewayEvents } from "./events.ts";
import { createStatusHandlers, createStatusReader, type StatusReader } from "./handlers/index.ts";
import { type HttpServer, openHttpServer } from "./http/http-server.ts";
import { createListener } from "./http/listener.ts";
import { createRateLimits, type RateLimits } from "./relay/rate-limits.ts";
import { createRelay } from "./relay/relay.ts";

/** A running gateway. */
export interface RunningGateway extends RunningService {
  /** `host:port` of the HTTP port. */
  readonly httpAddress: string;
}

/** Starts the public edge: native gRPC relayed as bytes, and the HTTP faces. No database, no business rules. */
export async function startServer(
  config: ConfigManager<GatewayConfig>,
  overrides?: ServerOverrides,
): Promise<RunningGateway> {
  const frame = await createServiceFrame({ service: "gateway", config, overrides });
  const objectives = createObjectives(frame, config.current);
  const events = createGatewayEvents({ metrics: frame.metrics, logger: frame.logger, objectives });
  const upstreams = openUpstreams(frame, config.current);
  const limits = createLimits(frame, config, events);
  const readStatus = createStatusReader(replicasOf(frame, upstreams), objectives);
  const auditor = keepRefusalAudit(frame, {
    vaultAddress: config.current.vaultAddress,
    nowMs: () => frame.clock.nowMs(),
    onDropped: (count) => events.refusalsNotEntered(count),
  });
  const parts = { frame, config: config.current, upstreams, events, limits, readStatus, auditor };

  addServices(parts);
  const http = await openHttp(parts);
  // Both ports drain together: a shutdown has one grace, not one after the other.
  const closeHttp = () => http.close(config.current.shutdownGraceMs);
  frame.signal.addEventListener("abort", () => void closeHttp(), { once: true });
  frame.defer("HTTP port", closeHttp);
  return { ...(await frame.start()), httpAddress: http.address };
}

interface Parts {
  readonly frame: ServiceFrame;
  readonly config: GatewayConfig;
  readonly upstreams: ReadonlyMap<Upstream, RpcChannel>;
  readonly events: GatewayEvents;
  readonly limits: RateLimits;
  readonly readStatus: StatusReader;
  readonly auditor: Auditor;
}

function openUpstreams(frame: ServiceFrame, config: GatewayConfig): Map<Upstream, RpcChannel> {
  return new Map([
    ["registry", frame.channel(config.registryAddress, "registry")],
    ["orchestrator", frame.channel(config.orchestratorAddress, "orchestrator")],
    ["mesh-router", frame.channel(config.meshRouterAddress, "mesh-router")],
    ["vault", frame.channel(config.vaultAddress, "vault")],
    ["insight", frame.channel(config.insightAddress, "insight")],
  ]);
}

function replicasOf(
  frame: ServiceFrame,
  upstreams: ReadonlyMap<Upstream, RpcChannel>,
): Map<Upstream, Replicas> {
  const all = new Map<Upstream, Replicas>();
  for (const [name, channel] of upstreams) {
    const replicas = new Replicas({
      channel,
      open: (address) => frame.openChannel(address, name),
    });
    frame.defer(`replicas of ${name}`, () => replicas.close());
    all.set(name, replicas);
  }
  return all;
}

function createObjectives({ clock }: ServiceFrame, config: GatewayConfig): Objectives {
  const { availabilityObjective, latencyObjective, latencyMaxMs } = config;
  const promised = { availability: availabilityObjective, latency: latencyObjective, latencyMaxMs };
  return new Objectives({ ...promised, clock });
}

function createLimits(
  frame: ServiceFrame,
  config: ConfigManager<GatewayConfig>,
  events: GatewayEvents,
): RateLimits {
  return createRateLimits({
    principals: createRateLimiter(() => config.current.callsPerSecondMax, frame.clock),
    addresses: createRateLimiter(() => config.current.publicCallsPerSecondMax, frame.clock),
    events,
  });
}

function channelOf({ upstreams }: Parts, name: Upstream): RpcChannel {
  const channel = upstreams.get(name);
  if (channel === undefined) throw new Error(`There is no channel to ${name}.`);
  return channel;
}

function addServices(parts: Parts): void {
  const { frame, limits, events, readStatus } = parts;
  const status = createStatusHandlers({
    readStatus,
    admit: (ctx) => limits.count(ctx.principal, addressOfPeer(ctx.peer)),
  });
  frame.server.add(StatusService, status);
  for (const { desc, upstream } of ROUTES) {
    const channel = channelOf(parts, upstream);
    frame.server.addRelay(desc, createRelay({ upstream, channel, limits, events }));
  }
}

async function openHttp(parts: Parts): Promise<HttpServer> {
  const { frame, config } = parts;
  try {
    return await openHttpServer({
      host: config.host,
      port: config.httpPort,
      tls: frame.edgeTls,
      listener: createHttpListener(parts),
    });
  } catch (error) {
    await frame[Symbol.asyncDispose]();
    throw portError("gateway", "HTTP_PORT", config.httpPort, error);
  }
}

function createHttpListener(parts: Parts) {
  const { frame, config, limits, events, readStatus, auditor } = parts;
  const auth = createRpcClient(AuthService, channelOf(parts, "vault"));
  const own = {
    desc: StatusService,
    upstream: undefined,
    calls: { getStatus: (_request: object, options: object) => readStatus(options) },
  };
  const relayed = ROUTES.map(({ desc, upstream }) => ({
    desc,
    upstream,
    calls: createRpcClient(desc, channelOf(parts, upstream)),
  }));
  return createListener({
    routes: [own, ...relayed],
    guard: {
      verifier: frame.verifier,
      auditor,
      limits,
      events,
      logger: frame.logger,
      shutdown: frame.signal,
      requestTimeoutMs: config.requestTimeoutMs,
    },
    messageMaxBytes: config.messageMaxBytes,
    proxies: { networks: networksOf(config), header: config.forwardedHeader },
    readKeys: async () => {
      const { jwksJson, maxAgeSeconds } = await auth.getJwks({});
      return { json: jwksJson, maxAgeSeconds };
    },
  });
}

/** The configuration's check let only networks through. */
function networksOf({ trustedProxies }: GatewayConfig): readonly Network[] {
  return trustedProxies.flatMap((text) => tryParseNetwork(text) ?? []);
}
