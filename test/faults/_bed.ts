/** What all campaigns are played on: three orchestrators with short leases, one of them behind proxies to its database and its router and
 * from the gateway, and the tables themselves to judge by. */
import type { ChildProcess } from "node:child_process";
import { createPool, type Pool } from "@nexus/postgres";
import { createClient, type NexusClient } from "@nexus/sdk";
import { TcpProxy, waitFor } from "@nexus/testkit";
import { startFleet, type TestFleet, type WorkerOptions, type WorkerWord } from "../e2e/_fleet.ts";
import { Agents } from "./_agents.ts";

/** The orchestrators of a bed. */
export const ORCHESTRATORS = ["orchestrator", "orchestrator-2", "orchestrator-3"] as const;

/** One of them. */
export type OrchestratorName = (typeof ORCHESTRATORS)[number];

/** The one that reaches its database and its router through proxies. */
export const PROXIED: OrchestratorName = "orchestrator-3";

/** How long a silent replica keeps its shards. */
const LEASE_MS = 1_000;
/** How long a service's connection may be silent: a call of a second ends before that is noticed, and it is noticed before it would be by
 * default. */
const SILENT_MAX_MS = "3000";
/** No promise, only an end to waiting: the machine may be very busy. */
export const LIVENESS_MS = 60_000;

/** An agent of a bed. */
export interface BedAgent {
  readonly child: ChildProcess;
  /** What its tasks went through, in order. */
  readonly words: WorkerWord[];
}

/** A deployment and what campaigns need of it. */
export interface Bed extends AsyncDisposable {
  readonly fleet: TestFleet;
  /** Runs SQL on the orchestrators' tables, as nobody's role but the administrator's. */
  readonly tables: Pick<Pool, "query" | "connect">;
  /** To the database. */
  readonly proxy: TcpProxy;
  /** To the mesh-router. */
  readonly routerProxy: TcpProxy;
  /** From the gateway to that orchestrator. */
  readonly gatewayProxy: TcpProxy;
  /** From agents that are started with it to the gateway. */
  readonly edgeProxy: TcpProxy;
  /** Those that do the appended jobs; they run once a campaign has started them. */
  readonly agents: Agents;
  /** Starts an agent as a process; again when it was killed. */
  spawn(agentId: string, slots: number, worker?: WorkerOptions): Promise<BedAgent>;
  /** Calls as the same user, but one orchestrator alone. Its tokens last an hour. */
  clientOf(name: OrchestratorName, user: NexusClient): Promise<NexusClient>;
  /** Resolves once an orchestrator owns shards, or owns none and was put out. */
  untilOwning(name: OrchestratorName, owning: boolean): Promise<void>;
}

/** Starts everything on a database that keeps what it acknowledged. */
export async function openBed(): Promise<Bed> {
  const proxy = await TcpProxy.listen();
  const routerProxy = await TcpProxy.listen();
  const gatewayProxy = await TcpProxy.listen();
  const edgeProxy = await TcpProxy.listen();
  const fleet = await startFleet({
    durable: true,
    orchestrators: ORCHESTRATORS.length,
    env: (name, own) => ({
      NEXUS_ORCHESTRATOR_LEASE_MS: String(LEASE_MS),
      NEXUS_ORCHESTRATOR_CHANNEL_SILENT_MAX_MS: SILENT_MAX_MS,
      NEXUS_GATEWAY_CHANNEL_SILENT_MAX_MS: SILENT_MAX_MS,
      ...(name === PROXIED ? throughProxies(proxy, routerProxy, own) : {}),
      ...(name === "gateway" ? toOneThroughProxy(gatewayProxy, own) : {}),
    }),
  });
  const { stack } = fleet;
  edgeProxy.aim(portOf(stack.info.gateway));
  const tables = createPool({
    url: tablesUrl(stack.postgresUrl),
    max: 4,
    applicationName: "faults",
    schema: "orchestrator",
  });
  const clients: NexusClient[] = [];
  const spawn: Bed["spawn"] = async (agentId, slots, worker) => {
    const child = await fleet.spawnAgent(agentId, slots, worker);
    const words: WorkerWord[] = [];
    child.on("message", (word) => words.push(word as WorkerWord));
    return { child, words };
  };
  return {
    fleet,
    tables,
    proxy,
    routerProxy,
    gatewayProxy,
    edgeProxy,
    agents: new Agents(spawn),
    spawn,
    clientOf: async (name, user) => {
      const accessToken = (await user.credentials?.accessToken())?.value ?? "";
      const gateway = stack.info.services[name]?.grpc ?? "";
      const client = createClient({ gateway, credentials: { kind: "token", accessToken } });
      clients.push(client);
      return client;
    },
    untilOwning: (name, owning) => untilOwning(tables, name, owning),
    [Symbol.asyncDispose]: async () => {
      for (const client of clients) client.close();
      await tables.close();
      await fleet[Symbol.asyncDispose]();
      for (const one of [proxy, routerProxy, gatewayProxy, edgeProxy]) await one.close();
    },
  };
}

/** The name of the orchestrator that owns a job; undefined while none does. */
export async function ownerOf({ tables }: Bed, jobId: string): Promise<string | undefined> {
  const { rows } = await tables.query<{ name: string }>(
    `SELECT r.name FROM jobs j JOIN shard_owners o USING (shard) JOIN replicas r ON r.replica_id = o.owner
      WHERE j.job_id = $1::uuid`,
    [uuidOf(jobId)],
  );
  return rows[0]?.name;
}

/** Reads a metric of an orchestrator, all label sets summed up; NaN while it has no such metric. */
export async function readMetric(
  { fleet }: Bed,
  name: OrchestratorName,
  metric: string,
): Promise<number> {
  const { ops = "" } = fleet.stack.info.services[name] ?? {};
  const lines = (await (await fetch(`${ops}/metrics`)).text()).split("\n");
  const values = lines
    .filter((line) => line.startsWith(`${metric} `) || line.startsWith(`${metric}{`))
    .map((line) => Number(line.slice(line.lastIndexOf(" "))));
  return values.length === 0 ? Number.NaN : values.reduce((sum, value) => sum + value, 0);
}

/** A public id as the tables have it. */
export function uuidOf(publicId: string): string {
  return publicId.slice(publicId.indexOf("_") + 1);
}

function tablesUrl(postgresUrl: string): string {
  const url = new URL(postgresUrl);
  url.pathname = "/nexus";
  return url.href;
}

function throughProxies(
  proxy: TcpProxy,
  routerProxy: TcpProxy,
  own: Readonly<Record<string, string>>,
): Record<string, string> {
  const url = new URL(own["NEXUS_ORCHESTRATOR_DATABASE_URL"] ?? "");
  proxy.aim(Number(url.port));
  url.port = String(proxy.port);
  const [host, port] = (own["NEXUS_ORCHESTRATOR_MESH_ROUTER_ADDRESSES"] ?? "").split(":");
  routerProxy.aim(Number(port));
  return {
    NEXUS_ORCHESTRATOR_DATABASE_URL: url.href,
    NEXUS_ORCHESTRATOR_MESH_ROUTER_ADDRESSES: `${host}:${routerProxy.port}`,
  };
}

/** Replicas come in the order of their numbers, so the proxied one is the last. */
function toOneThroughProxy(
  proxy: TcpProxy,
  own: Readonly<Record<string, string>>,
): Record<string, string> {
  const addresses = own["NEXUS_GATEWAY_ORCHESTRATOR_ADDRESS"] ?? "";
  const last = addresses.lastIndexOf(":");
  proxy.aim(portOf(addresses));
  return { NEXUS_GATEWAY_ORCHESTRATOR_ADDRESS: `${addresses.slice(0, last)}:${proxy.port}` };
}

function portOf(address: string): number {
  return Number(address.slice(address.lastIndexOf(":") + 1));
}

async function untilOwning(
  tables: Pick<Pool, "query">,
  name: OrchestratorName,
  owning: boolean,
): Promise<void> {
  const text = `
    SELECT count(*)::int AS owned FROM shard_owners o JOIN replicas r ON r.replica_id = o.owner
     WHERE r.name = $1`;
  await waitFor(
    async () => {
      const { rows } = await tables.query<{ owned: number }>(text, [name]);
      return (rows[0]?.owned ?? 0) > 0 === owning;
    },
    { timeoutMs: LIVENESS_MS, what: `${name} to ${owning ? "own shards" : "be put out"}` },
  );
}
