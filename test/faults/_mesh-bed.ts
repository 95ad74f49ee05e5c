/** What campaigns on messages and shared state are played on: a gateway, three replicas of the mesh-router behind it, and agents, each a process
 * of its own, on a real Postgres and a real Redis. All of them may be killed; each replica may be cut off from either store, and forgotten by
 * what lies between it and the gateway, and so may agents. */
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import {
  COLLECTION_FLAGS,
  type EmbeddedPostgres,
  fillLog,
  memoryFlags,
  startEmbeddedPostgres,
} from "@nexus/devkit";
import { createPool, type Pool, provisionDatabase } from "@nexus/postgres";
import { createRpcChannel, type RpcChannel } from "@nexus/rpc";
import {
  createTempFolder,
  createTestIdentity,
  freePort,
  startTestRedis,
  TcpProxy,
  type TempFolder,
  type TestRedisServer,
  waitFor,
} from "@nexus/testkit";
import { type RunningRegistry, startRegistry } from "../../services/mesh-router/test/_registry.ts";

const ROUTER = fixture("mesh-router.mjs");
const GATEWAY = fixture("gateway.mjs");
/** As a deployment starts its services: by itself V8 collects its heap at other times. */
const NODE_FLAGS = [...COLLECTION_FLAGS, ...memoryFlags()];
const SCHEMA = "mesh";
const ROLE = { role: "nexus_mesh", password: "mesh-of-the-campaign", schema: SCHEMA };
const READY_TIMEOUT_MS = 60_000;
/** Nobody listens there: leases cannot be checked, and nothing else may fail. */
const NOBODY = "127.0.0.1:9";
/** How long a connection of the gateway's or of an agent's may be silent: a tenth of what it is otherwise. */
export const SILENT_MAX_MS = 1_000;
/** A thing that a receiver is asked for by what it can do. */
export const CAPABILITY = "mesh.take";

/** Names the processes. */
export const REPLICAS = ["replica-0", "replica-1", "replica-2"] as const;
export const RECEIVERS = ["receiver-0", "receiver-1", "receiver-2"] as const;
export type ReplicaName = (typeof REPLICAS)[number];

/** What a process of the bed says. */
export type MeshWord = Readonly<Record<string, unknown>>;

/** What to start an agent's process with. */
export interface AgentProcess {
  readonly file: string;
  readonly env: Readonly<Record<string, string>>;
  /** Hears every word but that it is ready. */
  readonly hear?: (word: MeshWord) => void;
}

/** A replica's ways to the stores, and the gateway's to the replica. */
interface Ways {
  readonly postgres: TcpProxy;
  readonly redis: TcpProxy;
  readonly calls: TcpProxy;
}

/** Path of a program of the campaigns. */
export function fixture(name: string): string {
  return fileURLToPath(new URL(`fixtures/${name}`, import.meta.url));
}

/** A deployment of routers and agents. */
export class MeshBed implements AsyncDisposable {
  readonly postgres: EmbeddedPostgres;
  readonly redis: TestRedisServer;
  readonly identity = createTestIdentity();
  readonly tables: Pick<Pool, "query">;
  readonly ways = new Map<ReplicaName, Ways>();
  /** The agents' way to the gateway. */
  readonly edge: TcpProxy;
  readonly #folder: TempFolder;
  readonly #isTimed: boolean;
  readonly #pool: Pool;
  readonly #ports = new Map<ReplicaName, number>();
  readonly #children = new Map<string, ChildProcess>();
  readonly #channels = new Map<ReplicaName, RpcChannel>();
  #registry: RunningRegistry | undefined;
  #isClosing = false;

  private constructor({ postgres, redis, edge, folder, isTimed }: MeshBedParts) {
    this.postgres = postgres;
    this.redis = redis;
    this.edge = edge;
    this.#folder = folder;
    this.#isTimed = isTimed;
    this.#pool = createPool({
      url: postgres.url,
      max: 2,
      applicationName: "mesh-faults",
      schema: SCHEMA,
    });
    this.tables = this.#pool;
  }

  /** Starts the stores, the registry, the replicas and the gateway. `isTimed`: how long things take will be compared, so the database has
   * the log of one that has run for a while, and replicas find the stores without a proxy in this process, which stops for its own memory. */
  static async open({ isTimed = false } = {}): Promise<MeshBed> {
    const folder = await createTempFolder("nexus-mesh-faults");
    const postgres = await startEmbeddedPostgres({
      dataDir: `${folder.path}/postgres`,
      durable: true,
    });
    await provisionDatabase(postgres.url, [ROLE]);
    if (isTimed) await fillLog(postgres.url);
    const [redis, edge] = [await startTestRedis(), await TcpProxy.listen()];
    const bed = new MeshBed({ postgres, redis, edge, folder, isTimed });
    const skills = Object.fromEntries(RECEIVERS.map((name) => [name, CAPABILITY]));
    bed.#registry = await startRegistry(bed, skills);
    for (const name of REPLICAS) {
      const port = await freePort();
      bed.#ports.set(name, port);
      bed.ways.set(name, await bed.#openWays(port));
    }
    edge.aim(await freePort());
    // One at a time: the first one migrates.
    for (const name of REPLICAS) await bed.startReplica(name);
    await bed.startGateway();
    return bed;
  }

  /** Where agents find the gateway. */
  get gatewayAddress(): string {
    return `127.0.0.1:${this.edge.port}`;
  }

  /** Where a replica is. */
  addressOf(name: ReplicaName): string {
    return `127.0.0.1:${this.#ports.get(name)}`;
  }

  /** A connection to a replica, kept until the bed is closed. */
  channelTo(name: ReplicaName): RpcChannel {
    const channel = this.#channels.get(name) ?? createRpcChannel({ address: this.addressOf(name) });
    this.#channels.set(name, channel);
    return channel;
  }

  /** Starts a replica at its own address and resolves when it serves. */
  async startReplica(name: ReplicaName): Promise<void> {
    const ways = this.#isTimed ? undefined : this.ways.get(name);
    const database = through(this.postgres.url, ways?.postgres);
    database.username = ROLE.role;
    database.password = ROLE.password;
    const values = {
      databaseUrl: database.href,
      databasePoolMax: 4,
      grpcPort: this.#ports.get(name),
      registryAddress: this.#registry?.address ?? NOBODY,
      orchestratorAddress: NOBODY,
      routerId: name,
      busDriver: "redis",
      redisUrl: through(this.redis.url, ways?.redis).href,
      busDeployment: this.redis.deployment,
      busLostAfterMs: 1_000,
      heartbeatIntervalMs: 500,
      lostAfterMs: 2_000,
      redeliveryInitialMs: 50,
      // A message that is at work when its receiver is killed has failed; here that is no reason to give it up.
      mailAttemptsMax: 1_000,
      mailboxMax: 20_000,
      // What a replica hears of another one's writes, it hears by the bus.
      stateAskIntervalMs: 3_600_000,
    };
    const word = JSON.stringify({ key: this.identity.key, values });
    await this.start(name, { file: ROUTER, env: { NEXUS_TEST_REPLICA: word } });
  }

  /** Starts the gateway at its own port and resolves when it serves. */
  async startGateway(): Promise<void> {
    const routers = [...this.ways.values()].map(({ calls }) => `127.0.0.1:${calls.port}`);
    const values = {
      grpcPort: this.edge.target,
      meshRouterAddress: `ipv4:${routers.join(",")}`,
      vaultAddress: NOBODY,
      channelSilentMaxMs: SILENT_MAX_MS,
    };
    const word = JSON.stringify({ key: this.identity.key, values });
    await this.start("gateway", { file: GATEWAY, env: { NEXUS_TEST_GATEWAY: word } });
  }

  /** Starts a process and resolves when it says that it is ready. */
  async start(name: string, { file, env, hear }: AgentProcess): Promise<void> {
    const options = { env: { ...process.env, ...env }, execArgv: NODE_FLAGS };
    const child = fork(file, { ...options, stdio: "inherit" });
    this.#children.set(name, child);
    let isUp = false;
    child.on("message", (word: MeshWord) => {
      if (word["ready"] === true) isUp = true;
      else hear?.(word);
    });
    await waitFor(() => isUp || this.#isClosing || child.exitCode !== null, {
      what: `${name} to start`,
      timeoutMs: READY_TIMEOUT_MS,
    });
    if (child.exitCode !== null) throw new Error(`${name} ended with ${child.exitCode}`);
  }

  /** Tells a process something. */
  say(name: string, word: MeshWord): void {
    this.#children.get(name)?.send(word);
  }

  /** Kills a process, without a chance to say anything; what it said before has been heard. */
  async kill(name: string): Promise<void> {
    const child = this.#children.get(name);
    this.#children.delete(name);
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const gone = once(child, "close");
    child.kill("SIGKILL");
    await gone;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosing = true;
    for (const channel of this.#channels.values()) channel.close();
    for (const name of [...this.#children.keys()]) await this.kill(name);
    for (const { postgres, redis, calls } of this.ways.values()) {
      await Promise.all([postgres.close(), redis.close(), calls.close()]);
    }
    await this.edge.close();
    await this.#registry?.stop();
    await this.#pool.close();
    await this.redis.close();
    await this.postgres.stop();
    await this.#folder.remove();
  }

  async #openWays(port: number): Promise<Ways> {
    const open = async (target: number) => {
      const way = await TcpProxy.listen();
      way.aim(target);
      return way;
    };
    return {
      postgres: await open(this.postgres.port),
      redis: await open(this.redis.port),
      calls: await open(port),
    };
  }
}

interface MeshBedParts {
  readonly postgres: EmbeddedPostgres;
  readonly redis: TestRedisServer;
  readonly edge: TcpProxy;
  readonly folder: TempFolder;
  readonly isTimed: boolean;
}

function through(target: string, proxy: TcpProxy | undefined): URL {
  const url = new URL(target);
  if (proxy !== undefined) url.port = String(proxy.port);
  return url;
}
