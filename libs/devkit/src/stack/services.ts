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

/** A process of a service: named like it, and further orchestrators with their number, from `orchestrator-2`. */
export type InstanceName = ServiceName | `orchestrator-${number}`;

/** A process of the stack: one of a service, or the database. */
export type ProcessName = InstanceName | "postgres";

/** Most orchestrators of one stack: their ports lie between those of the services and of the database. */
export const ORCHESTRATORS_MAX = 16;

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
export function instanceNames(orchestrators: number): InstanceName[] {
  return SERVICE_NAMES.flatMap((name): InstanceName[] => {
    if (name !== "orchestrator") return [name];
    const more = Array.from({ length: orchestrators - 1 }, (_, index) => index + 2);
    return [name, ...more.map((number): InstanceName => `orchestrator-${number}`)];
  });
}

/** The service of a process: `orchestrator-2` -> `orchestrator`. */
export function serviceOf(name: InstanceName): ServiceName {
  return SERVICE_NAMES.find((service) => service === name) ?? "orchestrator";
}

/** Says what is wrong with a number of orchestrators, or undefined. */
export function orchestratorsProblem(count: number): string | undefined {
  const valid = Number.isInteger(count) && count >= 1 && count <= ORCHESTRATORS_MAX;
  return valid ? undefined : `must be a whole number from 1 to ${ORCHESTRATORS_MAX}`;
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
