import { LOG_LEVELS, MiB } from "@nexus/shared";
import { bytes, durationMs, float, int, port } from "./number-fields.ts";
import { envPrefix } from "./schema.ts";
import { bool, oneOf, secret, string, url } from "./text-fields.ts";
import { tlsFields } from "./tls-fields.ts";

/** The services that have a configuration. */
export type ServiceName =
  | "registry"
  | "orchestrator"
  | "mesh-router"
  | "vault"
  | "insight"
  | "gateway";

/** The ports a service listens on when nothing is configured. */
export interface ServicePorts {
  readonly grpcPort: number;
  readonly opsPort: number;
}

/** Fewest characters of a client secret: 32 characters of base64url are 192 bits. */
const CLIENT_SECRET_LENGTH_MIN = 32;
/** At the edge anybody may open a connection, so each gets little; behind it one connection of the gateway carries
 * the sessions of all agents. */
const EDGE_STREAMS_PER_CONNECTION = 1_000;
const INNER_STREAMS_PER_CONNECTION = 100_000;
const HOST_PORT_PATTERN = /^(?:dns:\/\/\/)?(?:\[[0-9a-fA-F:]+\]|[A-Za-z0-9._-]+):\d{1,5}$/;

function processFields(service: ServiceName, ports: ServicePorts) {
  const env = envPrefix(service);
  return {
    host: string({
      env: `${env}HOST`,
      default: "127.0.0.1",
      about: "Address to listen on, for calls and operators alike. `0.0.0.0` inside containers.",
    }),
    grpcPort: port({
      env: `${env}GRPC_PORT`,
      default: ports.grpcPort,
      about: "Port for gRPC calls; 0 takes a free one.",
    }),
    opsPort: port({
      env: `${env}OPS_PORT`,
      default: ports.opsPort,
      about: "Port for /metrics, /live and /ready; 0 takes a free one.",
    }),
    logLevel: oneOf({
      env: `${env}LOG_LEVEL`,
      values: LOG_LEVELS,
      default: "info",
      dynamic: true,
      about: "Least level of log lines.",
    }),
    shutdownGraceMs: durationMs({
      env: `${env}SHUTDOWN_GRACE_MS`,
      default: 10_000,
      min: 100,
      max: 600_000,
      about: "How long running calls may take to end after SIGTERM before they are cut.",
    }),
    otlpEndpoint: url({
      env: `${env}OTLP_ENDPOINT`,
      optional: true,
      about: "OTLP/HTTP collector that receives traces. Not set: no traces leave the process.",
    }),
    traceSampleRatio: float({
      env: `${env}TRACE_SAMPLE_RATIO`,
      default: 1,
      max: 1,
      about:
        "Share of traces that are exported, decided by trace id; keep it equal in all services.",
    }),
  };
}

function rpcFields(service: ServiceName) {
  const env = envPrefix(service);
  return {
    requestTimeoutMs: durationMs({
      env: `${env}REQUEST_TIMEOUT_MS`,
      default: 30_000,
      min: 100,
      max: 600_000,
      about: "Deadline of a unary call that brings none.",
    }),
    messageMaxBytes: bytes({
      env: `${env}MESSAGE_MAX_BYTES`,
      default: 4 * MiB,
      min: 64 * 1024,
      max: 64 * MiB,
      about: "Largest gRPC message in either direction.",
    }),
    channelConnections: int({
      env: `${env}CHANNEL_CONNECTIONS`,
      default: 1,
      min: 1,
      max: 16,
      about: "gRPC connections to each address of another service; calls take them in turn.",
    }),
    channelSilentMaxMs: durationMs({
      env: `${env}CHANNEL_SILENT_MAX_MS`,
      default: 10_000,
      min: 500,
      max: 60_000,
      about:
        "How long a connection to another service may be silent, with calls on it, before it is given up and another one is opened.",
    }),
    maxConnectionAgeMs: durationMs({
      env: `${env}MAX_CONNECTION_AGE_MS`,
      default: 600_000,
      min: 1_000,
      about:
        "Connections are asked to reconnect after this time, so that new replicas get their share.",
    }),
    maxConcurrentStreams: int({
      env: `${env}MAX_CONCURRENT_STREAMS`,
      default: service === "gateway" ? EDGE_STREAMS_PER_CONNECTION : INNER_STREAMS_PER_CONNECTION,
      min: 1,
      max: 1_000_000,
      about:
        "Calls that one connection may have open at once, streams included; further ones wait in the caller. The SDK puts 100 streams on a connection and leaves the rest to calls.",
    }),
  };
}

function edgeFields(service: ServiceName) {
  return {
    ...tlsFields(),
    plaintextAllowed: bool({
      env: `${envPrefix(service)}PLAINTEXT_ALLOWED`,
      default: false,
      about:
        "Serve without TLS beyond the loopback interface, e.g. inside a mesh that encrypts by itself.",
    }),
  };
}

function identityFields(service: ServiceName) {
  const env = envPrefix(service);
  return {
    vaultAddress: string({
      env: `${env}VAULT_ADDRESS`,
      default: "127.0.0.1:7404",
      pattern: HOST_PORT_PATTERN,
      example: "dns:///vault:7404",
      about: "Where vault is: `host:port`, or `dns:///host:port` to spread over all its addresses.",
    }),
    principalId: string({
      env: `${env}PRINCIPAL_ID`,
      default: service,
      about:
        "The service principal as which this service calls others, in the namespace nexus-system.",
    }),
    clientSecret: secret({
      env: `${env}CLIENT_SECRET`,
      min: CLIENT_SECRET_LENGTH_MIN,
      about: "The client secret of that principal; vault grants tokens for it.",
    }),
  };
}

function storeFields(service: ServiceName) {
  const env = envPrefix(service);
  return {
    databaseUrl: secret({
      env: `${env}DATABASE_URL`,
      example: "postgres://role:password@127.0.0.1:5432/nexus",
      about: "Postgres 15 or newer, as this service's own role.",
    }),
    databasePoolMax: int({
      env: `${env}DATABASE_POOL_MAX`,
      default: 10,
      min: 2,
      max: 200,
      about:
        "Most connections to Postgres. The sum over all replicas stays below its max_connections.",
    }),
    statementTimeoutMs: durationMs({
      env: `${env}STATEMENT_TIMEOUT_MS`,
      default: 10_000,
      min: 100,
      max: 300_000,
      about: "Postgres gives up on a statement after this time.",
    }),
  };
}

type ProcessFields = ReturnType<typeof processFields> &
  ReturnType<typeof rpcFields> &
  ReturnType<typeof edgeFields>;
type IdentityFields = ReturnType<typeof identityFields>;
type StoreFields = ReturnType<typeof storeFields>;

/** The fields every service has; vault is its own source of identity, and the gateway has no database. */
export type ServiceFields<S extends ServiceName> = ProcessFields &
  (S extends "vault" ? unknown : IdentityFields) &
  (S extends "gateway" ? unknown : StoreFields);

/** Returns the fields that a service shares with the others, named with its own prefix. */
export function serviceFields<const S extends ServiceName>(
  service: S,
  ports: ServicePorts,
): ServiceFields<S> {
  const fields = {
    ...processFields(service, ports),
    ...rpcFields(service),
    ...edgeFields(service),
    ...(service === "vault" ? {} : identityFields(service)),
    ...(service === "gateway" ? {} : storeFields(service)),
  };
  return fields as unknown as ServiceFields<S>;
}
