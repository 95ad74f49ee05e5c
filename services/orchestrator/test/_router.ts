/** A mesh-router for tests: a small real gRPC server that speaks DispatchService and plays the agents behind it. */
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import type { PayloadSchema } from "@nexus/proto/common";
import {
  type Assignment,
  type DispatchRequest,
  type DispatchResponse,
  DispatchResponseSchema,
  DispatchService,
  type RoutedUpdateSchema,
  SessionState,
  type TaskCancel,
  type TaskUpdateOutcome,
  type TaskUpdateResult,
  type TaskUpdateSchema,
} from "@nexus/proto/mesh";
import { type CallContext, createRpcServer, type RpcServer, type TokenVerifier } from "@nexus/rpc";
import { type AsyncQueue, createAsyncQueue, createSilentLogger } from "@nexus/shared";
import { createMetrics } from "@nexus/telemetry";

const QUEUE_MAX = 100_000;
const NAMESPACE = "default";

/** An assignment as it came in, with its address. */
export interface Received {
  readonly agentId: string;
  readonly epoch: bigint;
  readonly assignment: Assignment;
}

type Saying = NonNullable<MessageInitShape<typeof TaskUpdateSchema>["update"]>;

/** What a scripted agent does with an assignment; nothing means that it stays silent. */
export type Behaviour = (received: Received, router: FakeRouter) => void;

interface FakeSession {
  readonly namespace: string;
  readonly agentId: string;
  epoch: bigint;
  state: SessionState;
  slots: number;
  behaviour: Behaviour;
}

/** A mesh-router in this process. Everything it receives is kept, so tests can ask for it. */
export class FakeRouter {
  readonly assignments: Received[] = [];
  readonly cancels: { readonly agentId: string; readonly cancel: TaskCancel }[] = [];
  readonly results: { readonly agentId: string; readonly result: TaskUpdateResult }[] = [];
  readonly #sessions = new Map<string, FakeSession>();
  readonly #streams = new Set<AsyncQueue<DispatchResponse>>();
  readonly #verifier: TokenVerifier;
  #server: RpcServer | undefined;
  #updates: MessageInitShape<typeof RoutedUpdateSchema>[] = [];
  #turn: NodeJS.Immediate | undefined;
  /** Set to play a router whose stream works but whose snapshot never comes. */
  holdSnapshot = false;
  port = 0;

  constructor(verifier: TokenVerifier) {
    this.#verifier = verifier;
  }

  get address(): string {
    return `127.0.0.1:${this.port}`;
  }

  /** How many orchestrators are connected. */
  get streams(): number {
    return this.#streams.size;
  }

  /** Starts to listen; on the same port when it listened before. */
  async listen(): Promise<void> {
    const server = createRpcServer({
      service: "mesh-router",
      host: "127.0.0.1",
      port: this.port,
      logger: createSilentLogger(),
      metrics: createMetrics("mesh-router"),
      verifier: this.#verifier,
    });
    server.add(DispatchService, { dispatch: (requests, ctx) => this.#dispatch(requests, ctx) });
    this.port = (await server.listen()).port;
    this.#server = server;
  }

  async close(): Promise<void> {
    for (const stream of this.#streams) stream.end();
    await this.#server?.close(200);
    this.#server = undefined;
  }

  /** Breaks every stream, as a crash of the router's network would. */
  breakStreams(): void {
    for (const stream of this.#streams) stream.fail(new Error("broken"));
    this.#streams.clear();
  }

  /** Opens a session. The behaviour default is to complete everything at once with its input. */
  connect(
    agentId: string,
    options: {
      slots?: number;
      epoch?: bigint;
      behaviour?: Behaviour;
      namespace?: string;
      state?: SessionState;
    } = {},
  ): void {
    const namespace = options.namespace ?? NAMESPACE;
    const session: FakeSession = {
      namespace,
      agentId,
      epoch: options.epoch ?? 1n,
      state: options.state ?? SessionState.CONNECTED,
      slots: options.slots ?? 4,
      behaviour: options.behaviour ?? echo,
    };
    this.#sessions.set(keyOf(namespace, agentId), session);
    this.#report(session);
  }

  /** Changes the state of a session and reports it. */
  setState(agentId: string, state: SessionState, namespace = NAMESPACE): void {
    const session = this.#session(agentId, namespace);
    session.state = state;
    if (state === SessionState.CLOSED || state === SessionState.LOST) {
      this.#sessions.delete(keyOf(namespace, agentId));
    }
    this.#report(session);
  }

  /** Forgets a session without a word, as a restarted router would. */
  forget(agentId: string, namespace = NAMESPACE): void {
    this.#sessions.delete(keyOf(namespace, agentId));
  }

  accept({ agentId, epoch, assignment }: Received): void {
    this.#update(agentId, epoch, assignment, { case: "accepted", value: {} });
  }

  progress({ agentId, epoch, assignment }: Received, progress: number, message = ""): void {
    this.#update(agentId, epoch, assignment, { case: "progress", value: { progress, message } });
  }

  chunk({ agentId, epoch, assignment }: Received, sequence: bigint, text: string): void {
    const value = { sequence, data: Buffer.from(text) };
    this.#update(agentId, epoch, assignment, { case: "chunk", value });
  }

  complete(received: Received, text: string, contentType = "text/plain"): void {
    this.putOut(received, { contentType, data: Buffer.from(text) });
  }

  /** Completes with a payload of any kind. */
  putOut(
    { agentId, epoch, assignment }: Received,
    output: MessageInitShape<typeof PayloadSchema>,
  ): void {
    this.#update(agentId, epoch, assignment, { case: "completed", value: { output } });
  }

  fail(
    { agentId, epoch, assignment }: Received,
    reason = "AGENT_ERROR",
    options: { retryable?: boolean; message?: string } = {},
  ): void {
    const value = {
      reason,
      message: options.message ?? "no",
      retryable: options.retryable ?? true,
    };
    this.#update(agentId, epoch, assignment, { case: "failed", value });
  }

  release({ agentId, epoch, assignment }: Received): void {
    this.#update(agentId, epoch, assignment, { case: "released", value: { message: "draining" } });
  }

  /** Refuses an assignment, as a router does that cannot hand it over. */
  refuse({ agentId, epoch, assignment }: Received, reason: string): void {
    const session = { namespace: NAMESPACE, agentId, epoch };
    const { taskId, fence } = assignment;
    this.#push({ refusals: [{ session, taskId, fence, reason }] });
  }

  /** The outcome that the orchestrator gave for an update of this lease, if any. */
  outcomeOf({ assignment }: Received): TaskUpdateOutcome | undefined {
    return this.results.findLast(
      ({ result }) => result.taskId === assignment.taskId && result.fence === assignment.fence,
    )?.result.outcome;
  }

  #session(agentId: string, namespace: string): FakeSession {
    const session = this.#sessions.get(keyOf(namespace, agentId));
    if (session === undefined) throw new Error(`no session of ${agentId}`);
    return session;
  }

  #update(agentId: string, epoch: bigint, { taskId, fence }: Assignment, update: Saying): void {
    const session = { namespace: NAMESPACE, agentId, epoch };
    this.#updates.push({ session, update: { taskId, fence, update } });
    this.#turn ??= setImmediate(() => this.#flush());
  }

  /** Updates of one turn of the event loop leave in one frame, as a real router's do. */
  #flush(): void {
    clearImmediate(this.#turn);
    this.#turn = undefined;
    while (this.#updates.length > 0) {
      const frame = create(DispatchResponseSchema, { updates: this.#updates.splice(0, 512) });
      for (const stream of this.#streams) stream.push(frame);
    }
  }

  #report(session: FakeSession): void {
    this.#push({ sessions: [statusOf(session)] });
  }

  #push(init: MessageInitShape<typeof DispatchResponseSchema>): void {
    this.#flush();
    const frame = create(DispatchResponseSchema, init);
    for (const stream of this.#streams) stream.push(frame);
  }

  async *#dispatch(
    requests: AsyncIterable<DispatchRequest>,
    ctx: CallContext,
  ): AsyncGenerator<DispatchResponse> {
    const outgoing = createAsyncQueue<DispatchResponse>({ max: QUEUE_MAX });
    ctx.signal.addEventListener("abort", () => outgoing.end(), { once: true });
    const snapshot = [...this.#sessions.values()].map(statusOf);
    outgoing.push(
      create(DispatchResponseSchema, {
        routerId: "fake",
        sessions: snapshot,
        snapshotComplete: !this.holdSnapshot,
      }),
    );
    this.#streams.add(outgoing);
    void this.#read(requests).catch(() => undefined);
    try {
      yield* outgoing;
    } finally {
      this.#streams.delete(outgoing);
    }
  }

  async #read(requests: AsyncIterable<DispatchRequest>): Promise<void> {
    for await (const frame of requests) {
      for (const { session, assignment } of frame.assignments) {
        if (session === undefined || assignment === undefined) continue;
        const { agentId, epoch } = session;
        const received = { agentId, epoch, assignment };
        this.assignments.push(received);
        const held = this.#sessions.get(keyOf(session.namespace, agentId));
        if (held === undefined) this.refuse(received, "NO_SESSION");
        else if (held.epoch !== epoch) this.refuse(received, "EPOCH_MISMATCH");
        else held.behaviour(received, this);
      }
      for (const { session, cancel } of frame.cancels) {
        if (cancel !== undefined) this.cancels.push({ agentId: session?.agentId ?? "", cancel });
      }
      for (const { session, result } of frame.updateResults) {
        if (result !== undefined) this.results.push({ agentId: session?.agentId ?? "", result });
      }
    }
  }
}

function keyOf(namespace: string, agentId: string): string {
  return `${namespace}/${agentId}`;
}

function statusOf({ namespace, agentId, epoch, state, slots }: FakeSession) {
  return { session: { namespace, agentId, epoch }, state, slots };
}

/** Begins and completes at once, with the task's key and input. */
export const echo: Behaviour = (received, router) => {
  router.accept(received);
  const input = Buffer.from(received.assignment.input?.data ?? []).toString();
  router.complete(received, `${received.assignment.taskKey}:${input}`);
};

/** Keeps everything to itself. */
export const silent: Behaviour = () => undefined;

/** Begins, and then says no more. */
export const begin: Behaviour = (received, router) => router.accept(received);
