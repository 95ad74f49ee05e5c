/** The variables that each service is started with. */
import { LOOPBACK } from "../ports.ts";
import type { PortPlan } from "./port-plan.ts";
import { clientSecretOf, type StackSecrets } from "./secrets.ts";
import { CLIENTS_OF_VAULT, SERVICES, type ServiceName, variablePrefix } from "./services.ts";

/** The one database of a stack. */
export const DATABASE = "nexus";
/** A laptop's stack stops for a person who is waiting, so calls get less time to end than in production. */
const SHUTDOWN_GRACE_MS = 3_000;

/** Role of a service in the database. */
export function databaseRole(schema: string): string {
  return `nexus_${schema}`;
}

/** What the variables are made of. */
export interface EnvironmentInput {
  readonly ports: PortPlan;
  readonly secrets: StackSecrets;
  readonly logLevel: string | undefined;
  /** Further variables for every service, winning over the stack's own. */
  readonly extra: Readonly<Record<string, string>>;
}

/** Returns the variables of one service, without those of this process. */
export function serviceEnvironment(
  name: ServiceName,
  input: EnvironmentInput,
): Record<string, string> {
  const { ports, secrets } = input;
  const own: Record<string, string> = {
    HOST: LOOPBACK,
    GRPC_PORT: String(ports.grpc[name]),
    OPS_PORT: String(ports.ops[name]),
    SHUTDOWN_GRACE_MS: String(SHUTDOWN_GRACE_MS),
  };
  if (input.logLevel !== undefined) own["LOG_LEVEL"] = input.logLevel;
  if (name === "gateway") own["HTTP_PORT"] = String(ports.http);
  if (name !== "vault") own["CLIENT_SECRET"] = clientSecretOf(secrets, name);
  const { schema, upstreams } = SERVICES[name];
  if (schema !== undefined) own["DATABASE_URL"] = databaseUrl(name, schema, input);
  for (const [variable, upstream] of Object.entries(upstreams)) {
    own[variable] = `${LOOPBACK}:${ports.grpc[upstream]}`;
  }
  const prefix = variablePrefix(name);
  const prefixed = Object.entries(own).map(([variable, value]) => [prefix + variable, value]);
  return {
    ...(Object.fromEntries(prefixed) as Record<string, string>),
    ...(name === "vault" ? vaultSecrets(secrets) : {}),
    NEXUS_SUPERVISED: "1",
    ...input.extra,
  };
}

function databaseUrl(name: ServiceName, schema: string, input: EnvironmentInput): string {
  const password = input.secrets.databasePasswords[name] ?? "";
  const authority = `${databaseRole(schema)}:${password}@${LOOPBACK}:${input.ports.postgres}`;
  return `postgres://${authority}/${DATABASE}`;
}

function vaultSecrets(secrets: StackSecrets): Record<string, string> {
  const clients = CLIENTS_OF_VAULT.map((name) => `${name}=${clientSecretOf(secrets, name)}`);
  return {
    NEXUS_BOOTSTRAP_ADMIN_PASSWORD: secrets.adminPassword,
    NEXUS_VAULT_BOOTSTRAP_SERVICE_SECRETS: clients.join(","),
    NEXUS_VAULT_KEY_ENCRYPTION_KEY: secrets.keyEncryptionKey,
  };
}
