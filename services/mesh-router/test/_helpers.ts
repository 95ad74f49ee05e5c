/** A router on a real database, and the two kinds of peers that talk to it. */
import type { MessageInitShape } from "@bufbuild/protobuf";
import { createPool } from "@nexus/postgres";
import {
  AckKind,
  AgentSessionService,
  type Assignment,
  type CausalChainSchema,
  type ConnectRequestSchema,
  type ConnectResponse,
  DeadMessageService,
  type Delivery,
  DeliveryClass,
  DeliveryOutcome,
  type DispatchRequestSchema,
  type DispatchResponse,
  DispatchService,
  type Drain,
  type GatherMode,
  MessagingService,
  type RoutedUpdate,
  type SendOutcome,
  type SessionStatus,
  type SubscriptionResult,
  type TaskCancel,
  type TaskUpdateResult,
  type Welcome,
} from "@nexus/proto/mesh";
import { createRpcChannel, createRpcClient, type RpcChannel } from "@nexus/rpc";
import type { RunningService } from "@nexus/runtime";
import { type AsyncQueue, createAsyncQueue, createSilentLogger, NexusError } from "@nexus/shared";
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

type AgentFrame = MessageInitShape<typeof ConnectRequestSchema>;
type OrchestratorFrame = MessageInitShape<typeof DispatchRequestSchema>;

const QUEUE_MAX = 100_000;
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

/** One stream of frames: what is sent goes out at once, what comes is handed on. */
class TestPeer<Out, In> {
  framesRead = 0;
  error: NexusError | undefined;
  ended = false;
  /** While true nothing is read. */
  paused = false;
  readonly #outgoing: AsyncQueue<Out>;
  readonly #abort = new AbortController();

  constructor(
    open: (frames: AsyncIterable<Out>, signal: AbortSignal) => AsyncIterable<In>,
    take: (frame: In) => void,
  ) {
    this.#outgoing = createAsyncQueue<Out>({ max: QUEUE_MAX });
    void this.#read(open(this.#outgoing, this.#abort.signal), take);
  }

  send(frame: Out): void {
    this.#outgoing.push(frame);
  }

  /** Breaks the stream, as a crash or a lost network does. */
  break(): void {
    this.#abort.abort();
  }

  /** Ends the sending half only. */
  endSending(): void {
    this.#outgoing.end();
  }

  async untilEnded(): Promise<NexusError | undefined> {
    await waitFor(() => this.ended, { what: "the end of the stream" });
    return this.error;
  }

  async #read(incoming: AsyncIterable<In>, take: (frame: In) => void): Promise<void> {
    try {
      for await (const frame of incoming) {
        this.framesRead += 1;
        take(frame);
        if (this.paused) await waitFor(() => !this.paused, { what: "reading", timeoutMs: 60_000 });
      }
    } catch (error) {
      this.error = NexusError.from(error);
    } finally {
      this.ended = true;
    }
  }
}

/** What a message may carry beside its id and its receiver. */
export interface PostOptions {
  readonly subject?: string;
  readonly payload?: { readonly contentType: string; readonly data: Uint8Array };
  readonly expectsReply?: boolean;
  readonly inReplyTo?: string;
  readonly timeout?: { readonly seconds: bigint; readonly nanos: number };
  readonly traceparent?: string;
  readonly deliveryClass?: DeliveryClass;
  readonly ttl?: { readonly seconds: bigint; readonly nanos: number };
  readonly ackWait?: { readonly seconds: bigint; readonly nanos: number };
  readonly toCapability?: string;
  readonly toTopic?: string;
  readonly broadcast?: boolean;
  readonly chain?: MessageInitShape<typeof CausalChainSchema>;
  readonly lease?: { readonly taskId: string; readonly fence: bigint };
  readonly gather?: { readonly mode: GatherMode; readonly quorum?: number };
  readonly more?: boolean;
}

/** An agent that does nothing on its own. */
export class TestAgent {
  readonly peer: TestPeer<AgentFrame, ConnectResponse>;
  /** Of the token. */
  agentId = "";
  welcome: Welcome | undefined;
  drain: Drain | undefined;
  readonly assignments: Assignment[] = [];
  readonly cancels: TaskCancel[] = [];
  readonly results: TaskUpdateResult[] = [];
  readonly deliveries: Delivery[] = [];
  readonly outcomes: SendOutcome[] = [];
  readonly subscriptionResults: SubscriptionResult[] = [];
  readonly deliveryCancels: string[] = [];
  /** Acknowledges every delivery at once. */
  autoAck = false;

  constructor(channel: RpcChannel, token: string) {
    const client = createRpcClient(AgentSessionService, channel);
    this.peer = new TestPeer(
      (frames, signal) => client.connect(frames, { token, signal }),
      (frame) => {
        this.welcome ??= frame.welcome;
        this.drain ??= frame.drain;
        this.assignments.push(...frame.assignments);
        this.cancels.push(...frame.cancels);
        this.results.push(...frame.taskUpdateResults);
        this.deliveries.push(...frame.deliveries);
        this.outcomes.push(...frame.sendOutcomes);
        this.subscriptionResults.push(...frame.subscriptionResults);
        this.deliveryCancels.push(...frame.deliveryCancels.map((one) => one.deliveryId));
        if (this.autoAck && frame.deliveries.length > 0) {
          this.send({ acks: frame.deliveries.map(({ deliveryId }) => ({ deliveryId })) });
        }
      },
    );
  }

  send(frame: AgentFrame): void {
    this.peer.send(frame);
  }

  async welcomed(): Promise<Welcome> {
    await waitFor(() => this.welcome !== undefined || this.peer.ended, { what: "the welcome" });
    if (this.welcome === undefined) throw this.peer.error ?? new Error("ended without a welcome");
    return this.welcome;
  }

  get epoch(): bigint {
    return this.welcome?.epoch ?? 0n;
  }

  get resumeToken(): string {
    return this.welcome?.resumeToken ?? "";
  }

  /** Sends one message. */
  post(messageId: string, toAgentId: string, more: PostOptions = {}) {
    const payload = { contentType: "text/plain", data: new TextEncoder().encode(messageId) };
    this.send({ sends: [{ messageId, toAgentId, payload, ...more }] });
  }

  /** Sends one durable message. */
  mail(messageId: string, toAgentId: string, more: PostOptions = {}) {
    this.post(messageId, toAgentId, { deliveryClass: DeliveryClass.DURABLE, ...more });
  }

  /** Subscribes and waits until it holds. */
  async subscribe(pattern: string, more: { group?: string; durable?: boolean } = {}) {
    const before = this.subscriptionResults.length;
    this.send({ subscribes: [{ pattern, ...more }] });
    const result = await waitFor(() => this.subscriptionResults[before], {
      what: `the subscription to ${pattern}`,
    });
    return result.reason;
  }

  /** Says a word about a delivery. */
  ack(deliveryId: string, kind = AckKind.DONE, message = ""): void {
    this.send({ acks: [{ deliveryId, kind, message }] });
  }

  /** The ids of the durable messages delivered so far, in order. */
  get mailIds(): string[] {
    return this.deliveries.filter(({ messageId }) => messageId !== "").map((one) => one.messageId);
  }

  async delivery(index = 0): Promise<Delivery> {
    return waitFor(() => this.deliveries[index], { what: `delivery ${index}` });
  }

  async outcomeOf(messageId: string): Promise<SendOutcome> {
    return waitFor(() => this.outcomes.find((outcome) => outcome.messageId === messageId), {
      what: `the outcome of ${messageId}`,
    });
  }
}

/** An orchestrator that does nothing on its own. */
export class TestOrchestrator {
  readonly peer: TestPeer<OrchestratorFrame, DispatchResponse>;
  routerId = "";
  snapshotComplete = false;
  /** Sessions as the snapshot left them. */
  snapshot: SessionStatus[] = [];
  readonly changes: SessionStatus[] = [];
  readonly updates: RoutedUpdate[] = [];
  readonly refusals: { taskId: string; fence: bigint; reason: string }[] = [];

  constructor(channel: RpcChannel, token: string) {
    const client = createRpcClient(DispatchService, channel);
    this.peer = new TestPeer(
      (frames, signal) => client.dispatch(frames, { token, signal }),
      (frame) => {
        if (frame.routerId !== "") this.routerId = frame.routerId;
        (this.snapshotComplete ? this.changes : this.snapshot).push(...frame.sessions);
        if (frame.snapshotComplete) this.snapshotComplete = true;
        this.updates.push(...frame.updates);
        this.refusals.push(...frame.refusals);
      },
    );
  }

  send(frame: OrchestratorFrame): void {
    this.peer.send(frame);
  }

  /** Leases a task to an agent. */
  assign(agent: { agentId: string; epoch: bigint }, taskId: string, fence = 1n): void {
    const session = { namespace: "default", ...agent };
    const data = new TextEncoder().encode(taskId);
    const assignment = {
      taskId,
      fence,
      jobId: "job_1",
      input: { contentType: "text/plain", data },
    };
    this.send({ assignments: [{ session, assignment }] });
  }

  /** Says whether it wants more of an agent's slots. */
  want(agent: { agentId: string; epoch: bigint }, wanted: boolean, held = 0): void {
    this.send({ demands: [{ session: { namespace: "default", ...agent }, wanted, held }] });
  }

  /** The last state that was said about an epoch. */
  stateOf(agentId: string, epoch: bigint) {
    return this.#lastOf(agentId, epoch)?.state;
  }

  /** The last number of slots that was said about an epoch. */
  slotsOf(agentId: string, epoch: bigint): number | undefined {
    return this.#lastOf(agentId, epoch)?.slots;
  }

  async untilSlots(agentId: string, epoch: bigint, slots: number): Promise<void> {
    await waitFor(() => this.slotsOf(agentId, epoch) === slots, {
      what: `${slots} slots of ${agentId}@${epoch}`,
    });
  }

  async untilState(agentId: string, epoch: bigint, state: number): Promise<void> {
    await waitFor(() => this.stateOf(agentId, epoch) === state, {
      what: `${agentId}@${epoch} in state ${state}`,
    });
  }

  #lastOf(agentId: string, epoch: bigint): SessionStatus | undefined {
    return [...this.snapshot, ...this.changes].findLast(
      ({ session }) => session?.agentId === agentId && session.epoch === epoch,
    );
  }
}

/** The name of an outcome, for readable failures. */
export function outcomeName(outcome: SendOutcome | undefined): string {
  return outcome === undefined ? "none" : (DeliveryOutcome[outcome.outcome] ?? "unknown");
}
