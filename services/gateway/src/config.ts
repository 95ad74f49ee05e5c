import {
  type ConfigOf,
  type CrossFieldProblem,
  defineConfig,
  durationMs,
  type Fields,
  float,
  int,
  list,
  oneOf,
  port,
  serviceFields,
  string,
} from "@nexus/core";
import { FORWARDED_HEADERS } from "./domain/forwarded.ts";
import { tryParseNetwork } from "./domain/network.ts";

/** Ports of the gateway when nothing is configured. */
export const GATEWAY_PORTS = { grpcPort: 7400, opsPort: 9400, httpPort: 7480 } as const;

const ADDRESS =
  /^(?:dns:\/\/\/)?(?:\[[0-9a-fA-F:]+\]|[A-Za-z0-9._-]+):\d{1,5}$|^ipv4:[\d.]+:\d{1,5}(?:,[\d.]+:\d{1,5})*$/;

function upstream(thing: string, defaultPort: number) {
  return string({
    env: `NEXUS_GATEWAY_${thing}_ADDRESS`,
    default: `127.0.0.1:${defaultPort}`,
    pattern: ADDRESS,
    example: `dns:///${thing.toLowerCase().replace("_", "-")}:${defaultPort}`,
    about:
      "Where calls for this service go; `dns:///host:port` and `ipv4:ip:port,ip:port` spread them over several.",
  });
}

const fields = {
  ...serviceFields("gateway", GATEWAY_PORTS),
  httpPort: port({
    env: "NEXUS_GATEWAY_HTTP_PORT",
    default: GATEWAY_PORTS.httpPort,
    about: "Port for Connect, gRPC-Web, JSON and /.well-known/jwks.json; 0 takes a free one.",
  }),
  registryAddress: upstream("REGISTRY", 7401),
  orchestratorAddress: upstream("ORCHESTRATOR", 7402),
  meshRouterAddress: upstream("MESH_ROUTER", 7403),
  insightAddress: upstream("INSIGHT", 7405),
  callsPerSecondMax: int({
    env: "NEXUS_GATEWAY_CALLS_PER_SECOND_MAX",
    default: 5_000,
    min: 1,
    max: 1_000_000,
    dynamic: true,
    about: "Calls a second that one principal may make; as many again may come in a burst.",
  }),
  publicCallsPerSecondMax: int({
    env: "NEXUS_GATEWAY_PUBLIC_CALLS_PER_SECOND_MAX",
    default: 1_000,
    min: 1,
    max: 1_000_000,
    dynamic: true,
    about: "The same for calls without a token, such as logins, counted by the caller's address.",
  }),
  trustedProxies: list({
    env: "NEXUS_GATEWAY_TRUSTED_PROXIES",
    default: [],
    example: "10.0.0.0/8,fd00::/8",
    about:
      "Networks of the proxies before the HTTP port: what they say of their callers is believed, for limits, lockouts and the audit log. Not set: nobody is.",
  }),
  forwardedHeader: oneOf({
    env: "NEXUS_GATEWAY_FORWARDED_HEADER",
    values: FORWARDED_HEADERS,
    default: "x-forwarded-for",
    about:
      "The header in which those proxies say it. The other one is not read: a proxy passes it on as its caller wrote it.",
  }),
  availabilityObjective: float({
    env: "NEXUS_GATEWAY_AVAILABILITY_OBJECTIVE",
    default: 0.999,
    min: 0.5,
    max: 0.99999,
    about:
      "Share of calls that shall be answered, by whatever is not a fault of ours; the rest is the error budget.",
  }),
  latencyObjective: float({
    env: "NEXUS_GATEWAY_LATENCY_OBJECTIVE",
    default: 0.99,
    min: 0.5,
    max: 0.99999,
    about:
      "Share of unary calls that shall be answered in time; those to agents have no such promise.",
  }),
  latencyMaxMs: durationMs({
    env: "NEXUS_GATEWAY_LATENCY_MAX_MS",
    default: 1_000,
    min: 1,
    max: 60_000,
    about: "What in time means.",
  }),
} satisfies Fields;

/** Everything that can be configured. */
export const gatewaySchema = defineConfig({ service: "gateway", fields, check });

/** The gateway's configuration as the code sees it. */
export type GatewayConfig = ConfigOf<typeof gatewaySchema>;

function check({
  trustedProxies,
}: ConfigOf<{ fields: typeof fields }>): readonly CrossFieldProblem<typeof fields>[] {
  return trustedProxies
    .filter((text) => tryParseNetwork(text) === undefined)
    .map((text) => ({
      field: "trustedProxies",
      problem: `names ${text}, which is no address and no network such as 10.0.0.0/8, or is all there are`,
    }));
}
