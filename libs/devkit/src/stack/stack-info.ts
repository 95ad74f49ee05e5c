/** What others need to find a running stack: written to <dataDir>/stack.json. */
import { renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { LOOPBACK } from "../ports.ts";
import type { PortPlan } from "./port-plan.ts";
import type { InstanceName } from "./services.ts";

const FILE_NAME = "stack.json";

/** One service's addresses. */
export interface ServiceInfo {
  /** host:port of its gRPC port. */
  readonly grpc: string;
  /** http://host:port of its ops port: /metrics, /live, /ready. */
  readonly ops: string;
  /** 0 while it is down. */
  readonly pid: number;
}

/** A running stack. */
export interface StackInfo {
  /** host:port for gRPC clients. */
  readonly gateway: string;
  /** http://host:port, or https:// with TLS, for HTTP and JSON clients. */
  readonly http: string;
  /** By name; further processes of a service as `orchestrator-2` and so on. */
  readonly services: Readonly<Record<InstanceName, ServiceInfo>>;
  readonly postgres: { readonly port: number; readonly pid: number };
  /** Of a stack with several mesh-routers. */
  readonly redis?: { readonly port: number; readonly pid: number };
  /** JSON file {namespace, user, password}, mode 0600. */
  readonly adminCredentialsFile: string;
  readonly dataDir: string;
  readonly supervisorPid: number;
  /** PEM file with the CA certificates by which clients know the gateway; undefined without TLS. */
  readonly caFile?: string;
}

/** Builds the description. */
export function describeStack(input: {
  readonly ports: PortPlan;
  readonly pidOf: (name: InstanceName) => number | undefined;
  readonly postgresPid: number;
  /** 0 where there is none. */
  readonly redisPid: number;
  readonly adminCredentialsFile: string;
  readonly dataDir: string;
  readonly caFile?: string | undefined;
}): StackInfo {
  const { ports } = input;
  const names = Object.keys(ports.grpc) as InstanceName[];
  const services = names.map((name): [InstanceName, ServiceInfo] => [
    name,
    {
      grpc: `${LOOPBACK}:${ports.grpc[name]}`,
      ops: `http://${LOOPBACK}:${ports.ops[name]}`,
      pid: input.pidOf(name) ?? 0,
    },
  ]);
  return {
    gateway: `${LOOPBACK}:${ports.grpc.gateway}`,
    http: `${input.caFile === undefined ? "http" : "https"}://${LOOPBACK}:${ports.http}`,
    services: Object.fromEntries(services) as Record<InstanceName, ServiceInfo>,
    postgres: { port: ports.postgres, pid: input.postgresPid },
    ...(ports.redis === undefined ? {} : { redis: { port: ports.redis, pid: input.redisPid } }),
    adminCredentialsFile: input.adminCredentialsFile,
    dataDir: input.dataDir,
    supervisorPid: process.pid,
    ...(input.caFile === undefined ? {} : { caFile: input.caFile }),
  };
}

/** Writes the description whole, so that a reader never sees half of it. */
export function writeStackInfo(info: StackInfo): void {
  const file = join(info.dataDir, FILE_NAME);
  writeFileSync(`${file}.draft`, `${JSON.stringify(info, null, 2)}\n`);
  renameSync(`${file}.draft`, file);
}

/** Removes it: no file means no stack. */
export function removeStackInfo(dataDir: string): void {
  rmSync(join(dataDir, FILE_NAME), { force: true });
}
