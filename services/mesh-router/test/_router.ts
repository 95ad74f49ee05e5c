/** Routers on a real database, and the peers that talk to them. */
import { createPool } from "@nexus/postgres";
import { DeadMessageService, MessagingService } from "@nexus/proto/mesh";
import { createRpcChannel, createRpcClient, type RpcChannel } from "@nexus/rpc";
import type { RunningService } from "@nexus/runtime";
import { createSilentLogger } from "@nexus/shared";
import {
  createTestDatabase,
  createTestIdentity,
  type TestDatabase,
  type TestIdentity,
  testConfig,
  waitFor,
} from "@nexus/testkit";
import { type MeshRouterConfig, meshRouterConfig } from "../src/config.ts";
import { startServer } from "../src/server.ts";
import { TestAgent } from "./_agent.ts";
import { TestOrchestrator } from "./_orchestrator.ts";

/** Nobody listens there: presence fails, and nothing else may. */
const NO_REGISTRY = "127.0.0.1:9";

/** What a test file shares: one database, one issuer, routers and channels that are closed at the end. */
export class MeshFixture {
  readonly identity: TestIdentity = createTestIdentity();
  readonly database: TestDatabase;
  readonly #closing: (() => unknown)[] = [];

  private constructor(database: TestDatabase) {
    this.database = database;
  }

  static async create(): Promise<MeshFixture> {
    return new MeshFixture(await createTestDatabase("mesh-router"));
  }

  /** Starts a router. */
  async start(values: Partial<MeshRouterConfig> = {}): Promise<RunningRouter> {
    const config = testConfig(meshRouterConfig, {
      databaseUrl: this.database.url,
      databasePoolMax: 4,
      registryAddress: NO_REGISTRY,
      routerId: "router-a",
      shutdownGraceMs: 2_000,
      // Test agents send no heartbeats of their own, and a busy machine is slow.
      lostAfterMs: 60_000,
      ...values,
    });
    const service = await startServer(config, {
      verifier: this.identity.verifier,
      tokens: this.identity.tokens({ sub: "mesh-router", kind: "service" }),
      logger: createSilentLogger(),
    });
    const channel = createRpcChannel({ address: service.address });
    const router = new RunningRouter(this, service, channel);
    this.#closing.push(() => router.stop());
    return router;
  }

  /** Runs a statement in the router's schema, as a superuser. */
  async sql<R extends object = Record<string, unknown>>(text: string): Promise<R[]> {
    const { adminUrl, schema } = this.database;
    const pool = createPool({ url: adminUrl, max: 1, applicationName: "mesh-test", schema });
    const { rows } = await pool.query<R>(text);
    await pool.close();
    return rows;
  }

  /** How many rows of mail there are. */
  async mailCount(): Promise<number> {
    const [row] = await this.sql<{ count: number }>("SELECT count(*)::int AS count FROM mail");
    return row?.count ?? -1;
  }

  /** Waits until the table holds this many rows of mail. */
  async untilMail(count: number): Promise<void> {
    await waitFor(async () => (await this.mailCount()) === count, {
      what: `${count} rows of mail`,
    });
  }

  onClose(close: () => unknown): void {
    this.#closing.push(close);
  }

  async close(): Promise<void> {
    for (const close of this.#closing.reverse()) await close();
    await this.database.close();
  }
}

/** How a test agent says hello. */
export interface AgentOptions {
  readonly token?: string;
  readonly namespace?: string;
  readonly slots?: number;
  readonly messageCredit?: number;
  readonly resumeToken?: string;
  /** The end of its last stream. */
  readonly complete?: string;
  /** Names another agent than the token does. */
  readonly helloAs?: string;
}

/** A started router and ways to talk to it. */
export class RunningRouter {
  readonly channel: RpcChannel;
  readonly service: RunningService;
  readonly #fixture: MeshFixture;

  constructor(fixture: MeshFixture, service: RunningService, channel: RpcChannel) {
    this.#fixture = fixture;
    this.service = service;
    this.channel = channel;
  }

  async stop(): Promise<void> {
    await this.service[Symbol.asyncDispose]();
    this.channel.close();
  }

  /** Opens an agent's stream without a hello. */
  async openAgent(token: string): Promise<TestAgent> {
    return new TestAgent(this.channel, token);
  }

  /** Connects an agent and waits for its welcome. */
  async agent(agentId: string, options: AgentOptions = {}): Promise<TestAgent> {
    const agent = await this.agentUnwelcomed(agentId, options);
    await agent.welcomed();
    return agent;
  }

  async agentUnwelcomed(agentId: string, options: AgentOptions = {}): Promise<TestAgent> {
    const token =
      options.token ??
      (await this.#fixture.identity.token({
        sub: agentId,
        kind: "agent",
        ns: options.namespace ?? "default",
      }));
    const agent = await this.openAgent(token);
    agent.agentId = agentId;
    agent.send({
      hello: {
        agentId: options.helloAs ?? agentId,
        slots: options.slots ?? 4,
        messageCredit: options.messageCredit ?? 100,
        resumeToken: options.resumeToken ?? "",
        complete: options.complete ?? "",
      },
    });
    return agent;
  }

  /** Opens a dispatch stream and waits for the end of the snapshot. */
  async orchestrator(orchestratorId = "orchestrator-a"): Promise<TestOrchestrator> {
    const orchestrator = await this.openOrchestrator();
    orchestrator.send({ orchestratorId });
    await waitFor(() => orchestrator.snapshotComplete, { what: "the snapshot" });
    return orchestrator;
  }

  async openOrchestrator(): Promise<TestOrchestrator> {
    const token = await this.#fixture.identity.token({ sub: "orchestrator", kind: "service" });
    return new TestOrchestrator(this.channel, token);
  }

  deadMessages(token: string) {
    return createRpcClient(DeadMessageService, this.channel, {
      tokens: { token: async () => token },
    });
  }

  messaging(token: string) {
    return createRpcClient(MessagingService, this.channel, {
      tokens: { token: async () => token },
    });
  }
}
