import type { ConfigManager } from "@nexus/core";
import { StatusService } from "@nexus/proto/gateway";
import { AuthService } from "@nexus/proto/vault";
import { createRpcClient, type RpcChannel } from "@nexus/rpc";
import {
  createServiceFrame,
  type RunningService,
  type ServerOverrides,
  type ServiceFrame,
} from "@nexus/runtime";
import type { GatewayConfig } from "./config.ts";
import { createRateLimiter } from "./domain/rate-limiter.ts";
import { ROUTES, type Upstream } from "./domain/routes.ts";
import { createStatusHandlers } from "./handlers/index.ts";
import { createAdmission } from "./http/admission.ts";
import { openHttpServer } from "./http/http-server.ts";
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
  const upstreams = openUpstreams(frame, config.current);
  const limits = createLimits(frame, config);

  frame.server.add(StatusService, createStatusHandlers({ upstreams }));
  for (const { desc, upstream } of ROUTES) {
    const relay = createRelay(channelOf(upstreams, upstream), (ctx) =>
      limits.count(ctx.principal, ctx.peer),
    );
    frame.server.addRaw(desc, relay);
  }
  const running = await frame.start();
  try {
    const http = await openHttp({ frame, config: config.current, upstreams, limits, running });
    return withHttp(running, http, config.current.shutdownGraceMs);
  } catch (error) {
    await running[Symbol.asyncDispose]();
    throw error;
  }
}

function openUpstreams(frame: ServiceFrame, config: GatewayConfig): Map<Upstream, RpcChannel> {
  return new Map([
    ["registry", frame.channel(config.registryAddress)],
    ["orchestrator", frame.channel(config.orchestratorAddress)],
    ["mesh-router", frame.channel(config.meshRouterAddress)],
    ["vault", frame.channel(config.vaultAddress)],
    ["insight", frame.channel(config.insightAddress)],
  ]);
}

function createLimits(frame: ServiceFrame, config: ConfigManager<GatewayConfig>): RateLimits {
  return createRateLimits({
    principals: createRateLimiter(() => config.current.callsPerSecondMax, frame.clock),
    addresses: createRateLimiter(() => config.current.publicCallsPerSecondMax, frame.clock),
  });
}

function channelOf(upstreams: ReadonlyMap<Upstream, RpcChannel>, name: Upstream): RpcChannel {
  const channel = upstreams.get(name);
  if (channel === undefined) throw new Error(`There is no channel to ${name}.`);
  return channel;
}

interface HttpParts {
  readonly frame: ServiceFrame;
  readonly config: GatewayConfig;
  readonly upstreams: ReadonlyMap<Upstream, RpcChannel>;
  readonly limits: RateLimits;
  readonly running: RunningService;
}

function openHttp({ frame, config, upstreams, limits, running }: HttpParts) {
  const auth = createRpcClient(AuthService, channelOf(upstreams, "vault"));
  // The gateway's own contract is reached through its own gRPC port, like those of the others through theirs.
  const own = { desc: StatusService, channel: frame.channel(dialable(running.address)) };
  const relayed = ROUTES.map(({ desc, upstream }) => ({
    desc,
    channel: channelOf(upstreams, upstream),
  }));
  return openHttpServer({
    host: config.host,
    port: config.httpPort,
    messageMaxBytes: config.messageMaxBytes,
    routes: [own, ...relayed],
    admission: createAdmission(frame.verifier, limits),
    logger: frame.logger,
    jwks: async () => {
      const { jwksJson, maxAgeSeconds } = await auth.getJwks({});
      return { json: jwksJson, maxAgeSeconds };
    },
  });
}

/** 0.0.0.0 can be listened on, not dialled. */
function dialable(address: string): string {
  return address.replace(/^0\.0\.0\.0:/, "127.0.0.1:");
}

function withHttp(
  running: RunningService,
  http: { readonly address: string; close(graceMs: number): Promise<void> },
  graceMs: number,
): RunningGateway {
  return {
    address: running.address,
    opsAddress: running.opsAddress,
    httpAddress: http.address,
    [Symbol.asyncDispose]: async () => {
      await http.close(graceMs);
      await running[Symbol.asyncDispose]();
    },
  };
}
