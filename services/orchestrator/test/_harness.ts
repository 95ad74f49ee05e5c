/** A running orchestrator on a real database, with a fake router, registry and insight behind real gRPC. */

import type { MessageInitShape } from "@bufbuild/protobuf";
import { JobService, JobState, type SubmitJobRequestSchema } from "@nexus/proto/orchestrator";
import { createRpcChannel, createRpcClient, type RpcChannel, type RpcClient } from "@nexus/rpc";
import type { RunningService } from "@nexus/runtime";
import { createIds, createSilentLogger } from "@nexus/shared";
import {
  createTestDatabase,
  createTestIdentity,
  type TestDatabase,
  type TestIdentity,
  testConfig,
  waitFor,
} from "@nexus/testkit";
import { Pool } from "pg";
import { type OrchestratorConfig, schema } from "../src/config.ts";
import { startServer } from "../src/server.ts";
import { type FakeAgent, FakePeers } from "./_peers.ts";
import { type Behaviour, FakeRouter, type Received } from "./_router.ts";

const ids = createIds();

/** For replicas that no test takes away: long enough that a busy machine, which may hold up all of a test's replicas at once, has none of
 * them put out. Whoever joins or leaves is noticed at once all the same. */
export const STEADY_LEASE_MS = 10_000;

/** The client of one caller. */
export type Client = RpcClient<typeof JobService>;

type SubmitInit = MessageInitShape<typeof SubmitJobRequestSchema>;

/** What a test file works with. */
export class Harness {
  readonly identity: TestIdentity = createTestIdentity();
  readonly router: FakeRouter = new FakeRouter(this.identity.verifier);
  readonly peers: FakePeers = new FakePeers(this.identity.verifier);
  readonly #channels: RpcChannel[] = [];
  readonly #services: RunningService[] = [];
  #database: Pick<TestDatabase, "url" | "adminUrl" | "close"> | undefined;
  /** The client of user `alice` in the namespace `default`. */
  client!: Client;
  service!: RunningService;
  db!: Pool;

  get database(): Pick<TestDatabase, "url" | "adminUrl"> {
    if (this.#database === undefined) throw new Error("not open");
    return this.#database;
  }

  /** Starts everything, on a database of its own unless one is given. */
  async open(
    values: Partial<OrchestratorConfig> = {},
    database?: Pick<TestDatabase, "url" | "adminUrl" | "close">,
  ): Promise<void> {
    this.#database = database ?? (await createTestDatabase("orchestrator"));
    this.db = new Pool({
      connectionString: this.#database.adminUrl,
      options: "-c search_path=orchestrator",
      max: 2,
    });
    this.db.on("error", () => undefined);
    await this.router.listen();
    await this.peers.listen();
    this.service = await this.start(values);
    this.client = await this.clientOf("alice");
    await waitFor(() => this.isReady(), { what: "the orchestrator to own its jobs" });
  }

  /** Starts one more orchestrator on the same database. */
  async start(values: Partial<OrchestratorConfig> = {}): Promise<RunningService> {
    const config = testConfig(schema, {
      databaseUrl: this.database.url,
      registryAddress: this.peers.address,
      insightAddress: this.peers.address,
      meshRouterAddresses: [this.router.address],
      lostAfterMs: 3_000,
      reapIntervalMs: 20,
      outboxIntervalMs: 20,
      shutdownGraceMs: 500,
      ...values,
    });
    const token = await this.identity.token({ sub: "orchestrator", kind: "service" });
    const service = await startServer(config, {
      verifier: this.identity.verifier,
      tokens: { token: () => Promise.resolve(token) },
      logger: createSilentLogger(),
    });
    this.#services.push(service);
    return service;
  }

  async close(): Promise<void> {
    for (const channel of this.#channels) channel.close();
    for (const service of this.#services) await service[Symbol.asyncDispose]();
    await this.router.close();
    await this.peers.close();
    await this.db.end();
    await this.#database?.close();
  }

  /** Says whether the orchestrator is ready, or which check fails. */
  async readiness(service: RunningService = this.service) {
    const response = await fetch(`http://${service.opsAddress}/ready`);
    return (await response.json()) as { ready: boolean; checks: Record<string, string> };
  }

  async isReady(service: RunningService = this.service): Promise<boolean> {
    return (await this.readiness(service)).ready;
  }

  /** A client with a token of its own. */
  async clientOf(
    sub: string,
    options: { ns?: string; scopes?: readonly string[]; service?: RunningService } = {},
  ): Promise<Client> {
    const channel = createRpcChannel({ address: (options.service ?? this.service).address });
    this.#channels.push(channel);
    const token = await this.identity.token({
      sub,
      ...(options.ns === undefined ? {} : { ns: options.ns }),
      ...(options.scopes === undefined ? {} : { scopes: options.scopes }),
    });
    const tokens = { token: () => Promise.resolve(token) };
    return createRpcClient(JobService, channel, { tokens });
  }

  /** Registers and connects an agent, and waits until the orchestrator routes to it. */
  agent(fake: FakeAgent & { slots?: number; behaviour?: Behaviour; epoch?: bigint }): void {
    this.peers.register(fake);
    this.router.connect(fake.agentId, fake);
  }

  /** Submits a job and returns its id. */
  async submit(init: SubmitInit): Promise<string> {
    const { job } = await this.client.submitJob({ requestId: ids.next(), ...init });
    return job?.jobId ?? "";
  }

  /** Waits for a job to be in a state and returns it. */
  async untilState(jobId: string, state: JobState, client = this.client) {
    return waitFor(
      async () => {
        const { job } = await client.getJob({ jobId });
        return job?.state === state ? job : undefined;
      },
      { what: `job ${jobId} to be ${JobState[state]}` },
    );
  }

  /** The tasks of a job by key. */
  async tasksOf(jobId: string) {
    const { tasks } = await this.client.listTasks({ jobId });
    return Object.fromEntries(tasks.map((task) => [task.spec?.key ?? "", task]));
  }

  /** Waits for the nth assignment of a job's tasks. */
  assignmentOf(jobId: string, nth = 1): Promise<Received> {
    return waitFor(
      () => this.router.assignments.filter((item) => item.assignment.jobId === jobId)[nth - 1],
      { what: `assignment ${nth} of ${jobId}` },
    );
  }

  /** Explains the task of a job that has this key. */
  async attemptsOf(jobId: string, key = "a") {
    const tasks = await this.tasksOf(jobId);
    return this.client.explainTask({ taskId: tasks[key]?.taskId ?? "" });
  }

  /** Counts rows. */
  async count(table: string): Promise<number> {
    const { rows } = await this.db.query<{ n: number }>(`SELECT count(*)::int AS n FROM ${table}`);
    return rows[0]?.n ?? 0;
  }
}

/** A payload of text. */
export function text(value: string) {
  return { contentType: "text/plain", data: Buffer.from(value) };
}

/** The text of a payload. */
export function textOf(payload: { readonly data: Uint8Array } | undefined): string {
  return Buffer.from(payload?.data ?? []).toString();
}
