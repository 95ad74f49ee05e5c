/** What campaigns on messages are played on: three replicas of the mesh-router, senders and receivers, each a process of its own, on a real
 * Postgres and a real Redis, all of which may be killed. */
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { type EmbeddedPostgres, startEmbeddedPostgres } from "@nexus/devkit";
import { createPool, type Pool, provisionDatabase } from "@nexus/postgres";
import {
  createTempFolder,
  createTestIdentity,
  freePort,
  startTestRedis,
  type TempFolder,
  type TestRedisServer,
  waitFor,
} from "@nexus/testkit";

const ROUTER = fileURLToPath(new URL("fixtures/mesh-router.mjs", import.meta.url));
const AGENT = fileURLToPath(new URL("fixtures/mesh-agent.mjs", import.meta.url));
const SCHEMA = "mesh";
const ROLE = { role: "nexus_mesh", password: "mesh-of-the-campaign", schema: SCHEMA };
const READY_TIMEOUT_MS = 60_000;
/** Nobody listens there: presence fails, and nothing else may. */
const NOBODY = "127.0.0.1:9";

/** What an agent says of its messages: ids name sender, receiver and number. */
export interface MeshWord {
  readonly stored?: string;
  readonly got?: string;
}

/** Names the processes. */
export const REPLICAS = ["replica-0", "replica-1", "replica-2"] as const;
export const SENDERS = ["sender-0", "sender-1"] as const;
export const RECEIVERS = ["receiver-0", "receiver-1"] as const;

/** A deployment of routers and agents. */
export class MeshBed implements AsyncDisposable {
  readonly postgres: EmbeddedPostgres;
  readonly redis: TestRedisServer;
  readonly tables: Pick<Pool, "query">;
  /** Everything that agents said, in the order in which it came. */
  readonly words: MeshWord[] = [];
  readonly #folder: TempFolder;
  readonly #pool: Pool;
  readonly #identity = createTestIdentity();
  readonly #ports: number[] = [];
  readonly #children = new Map<string, ChildProcess>();
  #isClosing = false;

  private constructor(postgres: EmbeddedPostgres, redis: TestRedisServer, folder: TempFolder) {
    this.postgres = postgres;
    this.redis = redis;
    this.#folder = folder;
    this.#pool = createPool({
      url: postgres.url,
      max: 2,
      applicationName: "mesh-faults",
      schema: SCHEMA,
    });
    this.tables = this.#pool;
  }

  /** Starts everything. */
  static async open(): Promise<MeshBed> {
    const folder = await createTempFolder("nexus-mesh-faults");
    const postgres = await startEmbeddedPostgres({
      dataDir: `${folder.path}/postgres`,
      durable: true,
    });
    await provisionDatabase(postgres.url, [ROLE]);
    const bed = new MeshBed(postgres, await startTestRedis(), folder);
    for (const _ of REPLICAS) bed.#ports.push(await freePort());
    // One at a time: the first one migrates.
    for (const name of REPLICAS) await bed.startReplica(name);
    for (const name of RECEIVERS) await bed.#startAgent(name, {});
    const next = Object.fromEntries(RECEIVERS.map((name) => [name, 0]));
    for (const name of SENDERS) await bed.#startAgent(name, next);
    return bed;
  }

  /** Starts a replica at its own address and resolves when it serves. */
  async startReplica(name: (typeof REPLICAS)[number]): Promise<void> {
    const url = new URL(this.postgres.url);
    url.username = ROLE.role;
    url.password = ROLE.password;
    const values = {
      databaseUrl: url.href,
      databasePoolMax: 4,
      grpcPort: this.#ports[REPLICAS.indexOf(name)],
      registryAddress: NOBODY,
      orchestratorAddress: NOBODY,
      routerId: name,
      busDriver: "redis",
      redisUrl: this.redis.url,
      busDeployment: this.redis.deployment,
      busLostAfterMs: 1_000,
      heartbeatIntervalMs: 500,
      lostAfterMs: 2_000,
      redeliveryInitialMs: 50,
      // A message that is at work when its receiver is killed has failed; here that is no reason to give it up.
      mailAttemptsMax: 1_000,
    };
    const word = JSON.stringify({ key: this.#identity.key, values });
    await this.#fork(name, ROUTER, { NEXUS_TEST_REPLICA: word });
  }

  /** Kills a process, without a chance to say anything. */
  async kill(name: string): Promise<void> {
    const child = this.#children.get(name);
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const gone = once(child, "close");
    child.kill("SIGKILL");
    await gone;
  }

  /** Starts an agent again. A sender goes on behind what it knows to be stored. */
  async startAgain(name: string): Promise<void> {
    const isSender = SENDERS.some((one) => one === name);
    const next = isSender ? RECEIVERS.map((to) => [to, this.storedOf(name, to).length]) : [];
    await this.#startAgent(name, Object.fromEntries(next));
  }

  /** The numbers of what a sender knows to be stored for a receiver. */
  storedOf(from: string, to: string): number[] {
    const numbers = this.words.map(({ stored }) => numberOf(stored, from, to));
    return [...new Set(numbers.filter((number) => number !== undefined))];
  }

  /** The numbers of what a receiver got of a sender, each as it came first. */
  gotOf(from: string, to: string): number[] {
    const numbers = this.words.map(({ got }) => numberOf(got, from, to));
    return [...new Set(numbers.filter((number) => number !== undefined))];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosing = true;
    for (const name of this.#children.keys()) await this.kill(name);
    await this.#pool.close();
    await this.redis.close();
    await this.postgres.stop();
    await this.#folder.remove();
  }

  async #startAgent(agentId: string, next: Readonly<Record<string, number>>): Promise<void> {
    const token = await this.#identity.token({ sub: agentId, kind: "agent" });
    const addresses = this.#ports.map((port) => `127.0.0.1:${port}`);
    const word = JSON.stringify({ agentId, token, addresses, next });
    await this.#fork(agentId, AGENT, { NEXUS_TEST_AGENT: word });
  }

  /** Resolves with the first word of the process. */
  async #fork(name: string, file: string, env: Record<string, string>): Promise<void> {
    const child = fork(file, { env: { ...process.env, ...env }, stdio: "inherit" });
    this.#children.set(name, child);
    let isUp = false;
    child.on("message", (word: MeshWord) => {
      isUp = true;
      if (word.got !== undefined || word.stored !== undefined) this.words.push(word);
    });
    await waitFor(() => isUp || this.#isClosing || child.exitCode !== null, {
      what: `${name} to start`,
      timeoutMs: READY_TIMEOUT_MS,
    });
    if (child.exitCode !== null) throw new Error(`${name} ended with ${child.exitCode}`);
  }
}

function numberOf(id: string | undefined, from: string, to: string): number | undefined {
  const prefix = `${from}>${to}:`;
  return id?.startsWith(prefix) === true ? Number(id.slice(prefix.length)) : undefined;
}
