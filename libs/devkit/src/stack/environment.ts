/** The variables that each service is started with. */
import { dirname, join } from "node:path";
import { LOOPBACK } from "../ports.ts";
import type { PortPlan } from "./port-plan.ts";
import { clientSecretOf, type StackSecrets } from "./secrets.ts";
import {
  CLIENTS_OF_VAULT,
  type InstanceName,
  isReplicated,
  SERVICES,
  type ServiceName,
  serviceOf,
  variablePrefix,
} from "./services.ts";

/** The one database of a stack. */
export const DATABASE = "nexus";
/** A laptop's stack stops for a person who is waiting, so calls get less time to end than in production. */
const SHUTDOWN_GRACE_MS = 3_000;

/** Role of a service in the database. */
export function databaseRole(schema: string): string {
  return `nexus_${schema}`;
}

/** Variables by name. */
export type Variables = Readonly<Record<string, string>>;

/** What the variables are made of. */
export interface EnvironmentInput {
  readonly ports: PortPlan;
  readonly secrets: StackSecrets;
  /** Path of the file with vault's root key. */
  readonly rootKeyFile: string;
  readonly logLevel: string | undefined;
  /** Folder of the certificates, one within it for each process; undefined for a stack without TLS. */
  readonly tlsFolder?: string | undefined;
  /** Connection string of the Redis between mesh-routers; undefined where there is one of them. */
  readonly redisUrl?: string | undefined;
  /** Further variables of a process, winning over the stack's own. */
  readonly extra: (name: InstanceName, own: Variables) => Variables;
}

/** Returns the variables of one process, without those of this one. */
export function serviceEnvironment(
  instance: InstanceName,
  input: EnvironmentInput,
): Record<string, string> {
  const { ports, secrets } = input;
  const name = serviceOf(instance);
  const own: Record<string, string> = {
    HOST: LOOPBACK,
    GRPC_PORT: String(ports.grpc[instance]),
    OPS_PORT: String(ports.ops[instance]),
    SHUTDOWN_GRACE_MS: String(SHUTDOWN_GRACE_MS),
  };
  if (input.logLevel !== undefined) own["LOG_LEVEL"] = input.logLevel;
  if (name === "gateway") own["HTTP_PORT"] = String(ports.http);
  // Stays the same on other ports: the next start takes over at once from one that was killed.
  if (isReplicated(name)) own["ID"] = instance;
  if (name !== "vault") own["CLIENT_SECRET"] = clientSecretOf(secrets, name);
  const { schema, upstreams } = SERVICES[name];
  if (schema !== undefined) own["DATABASE_URL"] = databaseUrl(name, schema, input);
  for (const [variable, upstream] of Object.entries(upstreams)) {
    const addresses = addressesOf(upstream, ports);
    own[variable] = variable.endsWith("_ADDRESSES") ? addresses.join(",") : inTurn(addresses);
  }
  const prefix = variablePrefix(name);
  const prefixed = Object.entries(own).map(([variable, value]) => [prefix + variable, value]);
  const variables = {
    ...(Object.fromEntries(prefixed) as Record<string, string>),
    ...(name === "vault" ? vaultSecrets(input) : {}),
    ...(name === "mesh-router" ? busVariables(input) : {}),
    ...tlsVariables(instance, input.tlsFolder),
    NEXUS_SUPERVISED: "1",
  };
  return { ...variables, ...input.extra(instance, variables) };
}

/** The file of CA certificates that vault keeps up to date in a folder of certificates. */
export function caFileIn(tlsFolder: string): string {
  return join(tlsFolder, "vault", "ca.crt");
}

/** Vault issues the certificates. The others know it at their first start by the file that it wrote, which an operator would hand
 * out elsewhere. */
function tlsVariables(instance: InstanceName, folder: string | undefined): Record<string, string> {
  if (folder === undefined) return {};
  return {
    NEXUS_TLS_MODE: "mutual",
    NEXUS_TLS_ISSUER: "vault",
    NEXUS_TLS_CERT_FILE: join(folder, instance, "tls.crt"),
    NEXUS_TLS_KEY_FILE: join(folder, instance, "tls.key"),
    NEXUS_TLS_CA_FILE: join(folder, instance, "ca.crt"),
    NEXUS_TLS_BOOTSTRAP_CA_FILE: caFileIn(folder),
  };
}

function addressesOf(service: ServiceName, { grpc }: PortPlan): string[] {
  const names = (Object.keys(grpc) as InstanceName[]).filter((name) => serviceOf(name) === service);
  return names.map((name) => `${LOOPBACK}:${grpc[name]}`);
}

/** Calls to a service with several processes go to each of them in turn. */
function inTurn(addresses: readonly string[]): string {
  return addresses.length === 1 ? addresses.join() : `ipv4:${addresses.join(",")}`;
}

function busVariables({ redisUrl }: EnvironmentInput): Record<string, string> {
  return redisUrl === undefined ? {} : { NEXUS_BUS_DRIVER: "redis", NEXUS_REDIS_URL: redisUrl };
}

function databaseUrl(name: ServiceName, schema: string, input: EnvironmentInput): string {
  const password = input.secrets.databasePasswords[name] ?? "";
  const authority = `${databaseRole(schema)}:${password}@${LOOPBACK}:${input.ports.postgres}`;
  return `postgres://${authority}/${DATABASE}`;
}

/** The longest path that every system takes for a Unix socket, less a little. */
const SOCKET_PATH_MAX = 100;

/** Where vault is sealed and opened, beside its root key. In a folder with a very long name there is none. */
function operatorSocket(rootKeyFile: string): Record<string, string> {
  const path = join(dirname(rootKeyFile), "operator", "vault.sock");
  return path.length > SOCKET_PATH_MAX ? {} : { NEXUS_VAULT_OPERATOR_SOCKET: path };
}

function vaultSecrets({ secrets, rootKeyFile }: EnvironmentInput): Record<string, string> {
  const { keyEncryptionKey } = secrets;
  const clients = CLIENTS_OF_VAULT.map((name) => `${name}=${clientSecretOf(secrets, name)}`);
  return {
    NEXUS_BOOTSTRAP_ADMIN_PASSWORD: secrets.adminPassword,
    NEXUS_VAULT_BOOTSTRAP_SERVICE_SECRETS: clients.join(","),
    NEXUS_VAULT_ROOT_KEY_FILE: rootKeyFile,
    ...operatorSocket(rootKeyFile),
    ...(keyEncryptionKey === undefined ? {} : { NEXUS_VAULT_KEY_ENCRYPTION_KEY: keyEncryptionKey }),
  };
}
