/** The six services as the stack sees them: what to run, what each is called in variables, whom each must find. */
import { fileURLToPath } from "node:url";

/** Services in the order in which they are started; stopping goes the other way, the edge first. */
export const SERVICE_NAMES = [
  "vault",
  "insight",
  "registry",
  "mesh-router",
  "orchestrator",
  "gateway",
] as const;

/** One of the six services. */
export type ServiceName = (typeof SERVICE_NAMES)[number];

/** A process of the stack: a service, or the database. */
export type ProcessName = ServiceName | "postgres";

/** What one service needs from the stack. */
export interface ServiceSpec {
  /** Distance of its gRPC port from the base port. */
  readonly portOffset: number;
  /** Schema in the one database; undefined for a service without store. */
  readonly schema: string | undefined;
  /** Variable (behind the service's prefix) -> the service whose gRPC address it takes. */
  readonly upstreams: Readonly<Record<string, ServiceName>>;
}

/** All services. Ports are those of the design, relative to the base port 7400. */
export const SERVICES: Readonly<Record<ServiceName, ServiceSpec>> = {
  gateway: {
    portOffset: 0,
    schema: undefined,
    upstreams: {
      VAULT_ADDRESS: "vault",
      REGISTRY_ADDRESS: "registry",
      ORCHESTRATOR_ADDRESS: "orchestrator",
      MESH_ROUTER_ADDRESS: "mesh-router",
      INSIGHT_ADDRESS: "insight",
    },
  },
  registry: { portOffset: 1, schema: "registry", upstreams: { VAULT_ADDRESS: "vault" } },
  orchestrator: {
    portOffset: 2,
    schema: "orchestrator",
    upstreams: {
      VAULT_ADDRESS: "vault",
      REGISTRY_ADDRESS: "registry",
      MESH_ROUTER_ADDRESSES: "mesh-router",
      INSIGHT_ADDRESS: "insight",
    },
  },
  "mesh-router": {
    portOffset: 3,
    schema: "mesh",
    upstreams: { VAULT_ADDRESS: "vault", REGISTRY_ADDRESS: "registry" },
  },
  vault: { portOffset: 4, schema: "vault", upstreams: {} },
  insight: { portOffset: 5, schema: "insight", upstreams: { VAULT_ADDRESS: "vault" } },
};

/** The services that prove themselves to vault with a client secret. */
export const CLIENTS_OF_VAULT = SERVICE_NAMES.filter((name) => name !== "vault");

/** The services that have a schema, with it. */
export function servicesWithStore(): { readonly name: ServiceName; readonly schema: string }[] {
  return SERVICE_NAMES.flatMap((name) => {
    const { schema } = SERVICES[name];
    return schema === undefined ? [] : [{ name, schema }];
  });
}

/** `mesh-router` -> `NEXUS_MESH_ROUTER_`. */
export function variablePrefix(name: ServiceName): string {
  return `NEXUS_${name.toUpperCase().replaceAll("-", "_")}_`;
}

/** The built program of a service in this repository. */
export function serviceEntry(name: ServiceName): string {
  return fileURLToPath(new URL(`../../../../services/${name}/dist/main.js`, import.meta.url));
}
