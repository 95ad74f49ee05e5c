/** Which process listens where. */
import { devkitError } from "../devkit-error.ts";
import { FETCH_BAD_PORTS, freePorts, isPortFree, LOOPBACK } from "../ports.ts";
import {
  type InstanceName,
  instanceNames,
  REPLICAS_MAX,
  type ReplicaCounts,
  type ReplicatedService,
  SERVICES,
  serviceOf,
} from "./services.ts";

/** Process n of a service, from the second on, listens at so much plus n. */
const REPLICA_OFFSETS: Readonly<Record<ReplicatedService, number>> = {
  orchestrator: 10,
  "mesh-router": 40,
};
const HTTP_OFFSET = 80;
const POSTGRES_OFFSET = 32;
const REDIS_OFFSET = 33;
const OPS_OFFSET = 2000;
const TAKEN_POLL_MS = 200;
const PORT_MIN = 1024;
const PORT_MAX = 65_535;
/** Largest base whose highest port, an ops port, is still a port. */
const PORT_BASE_MAX =
  PORT_MAX - OPS_OFFSET - Math.max(...Object.values(REPLICA_OFFSETS)) - REPLICAS_MAX;

/** The base port of the design: gateway 7400, registry 7401, ... */
export const PORT_BASE_DEFAULT = 7400;

/** The ports of one stack. */
export interface PortPlan {
  readonly grpc: Readonly<Record<InstanceName, number>>;
  readonly ops: Readonly<Record<InstanceName, number>>;
  /** The gateway's second port. */
  readonly http: number;
  readonly postgres: number;
  /** Undefined for a stack that needs no Redis: one with a single mesh-router. */
  readonly redis?: number;
}

/** Says what is wrong with a base port, or undefined. */
export function portBaseProblem(base: number, replicas: ReplicaCounts = {}): string | undefined {
  if (!Number.isInteger(base) || base < PORT_MIN || base > PORT_BASE_MAX) {
    return `must be a whole number from ${PORT_MIN} to ${PORT_BASE_MAX}`;
  }
  const { http, ops } = planPorts(base, replicas);
  const bad = [http, ...Object.values(ops)].find((port) => FETCH_BAD_PORTS.has(port));
  return bad === undefined
    ? undefined
    : `must be another: HTTP would be served at ${bad}, a port that browsers refuse`;
}

/** Lays out a stack from its base port: gateway N, registry N+1 .. insight N+5, further orchestrators N+12 up, further mesh-routers
 * N+42 up, HTTP N+80, Postgres N+32, Redis N+33, ops ports +2000. */
export function planPorts(base: number, replicas: ReplicaCounts = {}): PortPlan {
  const names = instanceNames(replicas);
  return {
    grpc: byInstance(names, (name) => base + offsetOf(name)),
    ops: byInstance(names, (name) => base + offsetOf(name) + OPS_OFFSET),
    http: base + HTTP_OFFSET,
    postgres: base + POSTGRES_OFFSET,
    ...(needsRedis(replicas) ? { redis: base + REDIS_OFFSET } : {}),
  };
}

/** Lays out a stack on ports that are free at the moment. */
export async function planFreePorts(replicas: ReplicaCounts = {}): Promise<PortPlan> {
  const names = instanceNames(replicas);
  const ports = await freePorts(names.length * 2 + 3);
  const take = () => ports.pop() ?? 0;
  return {
    grpc: byInstance(names, take),
    ops: byInstance(names, take),
    http: take(),
    postgres: take(),
    ...(needsRedis(replicas) ? { redis: take() } : {}),
  };
}

/** Mesh-routers hear of each other through one. */
function needsRedis({ "mesh-router": meshRouters = 1 }: ReplicaCounts): boolean {
  return meshRouters > 1;
}

/** Refuses to begin when a port is taken, naming each one and the flag that moves them all.
 *
 * With patience, ports may be taken at first: by the processes of a supervisor that was killed a moment ago.
 * Errors: precondition/PORT_IN_USE. */
export async function assertPortsFree(plan: PortPlan, patienceMs = 0): Promise<void> {
  const giveUpAt = performance.now() + patienceMs;
  for (;;) {
    const taken = await takenPorts(plan);
    if (taken.length === 0) return;
    if (performance.now() >= giveUpAt) {
      throw devkitError(
        "PORT_IN_USE",
        `in use on ${LOOPBACK} by another process: port ${taken.join(", ")}. Choose other ports with --port-base N`,
      );
    }
    await new Promise((resolve) => setTimeout(resolve, TAKEN_POLL_MS));
  }
}

/** Names the ports of a plan that cannot be bound at this moment. */
export async function takenPorts(plan: PortPlan): Promise<string[]> {
  const wanted: [string, number][] = [
    ...Object.entries(plan.grpc),
    ["gateway HTTP", plan.http],
    ["postgres", plan.postgres],
    ...(plan.redis === undefined ? [] : [["redis", plan.redis] satisfies [string, number]]),
    ...Object.entries(plan.ops).map(([name, port]): [string, number] => [`${name} ops`, port]),
  ];
  const taken: string[] = [];
  for (const [what, port] of wanted) {
    if (!(await isPortFree(port))) taken.push(`${port} (${what})`);
  }
  return taken;
}

function offsetOf(name: InstanceName): number {
  const service = serviceOf(name);
  if (name === service) return SERVICES[service].portOffset;
  return REPLICA_OFFSETS[service as ReplicatedService] + Number(name.slice(service.length + 1));
}

function byInstance<T>(
  names: readonly InstanceName[],
  valueOf: (name: InstanceName) => T,
): Record<InstanceName, T> {
  const entries = names.map((name) => [name, valueOf(name)] as const);
  return Object.fromEntries(entries) as Record<InstanceName, T>;
}
