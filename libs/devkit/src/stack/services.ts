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

/** Services that a stack can have several processes of. */
export const REPLICATED_SERVICES = ["orchestrator", "mesh-router"] as const;

/** One of those. */
export type ReplicatedService = (typeof REPLICATED_SERVICES)[number];

/** How many processes each has; one that is not named has one. */
export type ReplicaCounts = Readonly<Partial<Record<ReplicatedService, number>>>;

/** A process of a service: named like it, and further ones with their number, from `orchestrator-2`. */
export type InstanceName = ServiceName | `${ReplicatedService}-${number}`;

/** A process of the stack: one of a service, the database, or, between several mesh-routers, their Redis. */
export type ProcessName = InstanceName | "postgres" | "redis";

/** Most processes of one service: their ports lie between those of others. */
export const REPLICAS_MAX = 16;

/** What one service needs from the stack. */
export interface ServiceSpec {
  /** Distance of its gRPC port from the base port. */
  readonly portOffset: number;
  /** Schema in the one database; undefined for a service without store. */
  readonly schema: string | undefined;
  /** Variable (behind the service's prefix) -> the service whose gRPC address it takes, or the address of each of its processes for
   * one that ends with `_ADDRESSES`. */
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
    upstreams: {
      VAULT_ADDRESS: "vault",
      REGISTRY_ADDRESS: "registry",
      ORCHESTRATOR_ADDRESS: "orchestrator",
    },
  },
  vault: {
    portOffset: 4,
    schema: "vault",
    upstreams: { ORCHESTRATOR_ADDRESS: "orchestrator" },
  },
  insight: { portOffset: 5, schema: "insight", upstreams: { VAULT_ADDRESS: "vault" } },
};

/** Every process of the services, in the order of SERVICE_NAMES. */
export function instanceNames(replicas: ReplicaCounts): InstanceName[] {
  return SERVICE_NAMES.flatMap((name): InstanceName[] => {
    if (!isReplicated(name)) return [name];
    const more = Array.from({ length: (replicas[name] ?? 1) - 1 }, (_, index) => index + 2);
    return [name, ...more.map((number): InstanceName => `${name}-${number}`)];
  });
}

/** The service of a process: `orchestrator-2` -> `orchestrator`. */
export function serviceOf(name: InstanceName): ServiceName {
  const replicated = REPLICATED_SERVICES.find((service) => name.startsWith(`${service}-`));
  return replicated ?? (name as ServiceName);
}

/** Says whether a stack can have several of a service. */
export function isReplicated(name: ServiceName): name is ReplicatedService {
  return REPLICATED_SERVICES.some((service) => service === name);
}

/** Says what is wrong with a number of processes of one service, or undefined. */
export function replicasProblem(count: number): string | undefined {
  const valid = Number.isInteger(count) && count >= 1 && count <= REPLICAS_MAX;
  return valid ? undefined : `must be a whole number from 1 to ${REPLICAS_MAX}`;
}

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

/** The program of a service as it is deployed: all its code in one file. */
export function serviceEntry(name: ServiceName): string {
  return fileURLToPath(new URL(`../../../../services/${name}/dist/bundle.js`, import.meta.url));
}
