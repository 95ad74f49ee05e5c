/** Registry and insight for tests: one small real gRPC server that speaks the parts the orchestrator uses. */
import { create } from "@bufbuild/protobuf";
import type { AttemptOutcome, OutcomeGroup } from "@nexus/proto/common";
import { MetricsService } from "@nexus/proto/insight";
import {
  type Agent,
  AgentSchema,
  OutcomeService,
  RegistryService,
  type WatchAgentsResponse,
  WatchAgentsResponseSchema,
} from "@nexus/proto/registry";
import {
  createRpcServer,
  type RpcServer,
  type ServiceImplementation,
  type TokenVerifier,
} from "@nexus/rpc";
import { type AsyncQueue, createAsyncQueue, createSilentLogger, NexusError } from "@nexus/shared";
import { createMetrics } from "@nexus/telemetry";
import { outcomesOf } from "../src/clients/outcome-expander.ts";

/** What a test says of an agent. */
export interface FakeAgent {
  readonly agentId: string;
  readonly namespace?: string;
  /** `name@version`. */
  readonly capabilities: readonly string[];
  readonly region?: string;
  readonly labels?: Record<string, string>;
  /** Lower bound of the reputation, for all capabilities. */
  readonly reputation?: number;
}

/** Registry and insight in this process. */
export class FakePeers {
  /** What the registry and insight counted. */
  readonly outcomes: AttemptOutcome[] = [];
  readonly samples: AttemptOutcome[] = [];
  /** How often the registry was told of each group, by stream and position, counted or not. */
  readonly told = new Map<string, number>();
  readonly #counted = { outcomes: new Map<string, bigint>(), samples: new Map<string, bigint>() };
  /** Set to have reports or samples fail. */
  outcomesDown = false;
  samplesDown = false;
  /** Set to have both be of a version that knows no tables: groups without outcomes break its rules. */
  older = false;
  readonly #agents = new Map<string, Agent>();
  readonly #watchers = new Set<AsyncQueue<WatchAgentsResponse>>();
  readonly #verifier: TokenVerifier;
  #server: RpcServer | undefined;
  #token = 0;
  port = 0;

  constructor(verifier: TokenVerifier) {
    this.#verifier = verifier;
  }

  get address(): string {
    return `127.0.0.1:${this.port}`;
  }

  async listen(): Promise<void> {
    const server = createRpcServer({
      service: "registry",
      host: "127.0.0.1",
      port: this.port,
      logger: createSilentLogger(),
      metrics: createMetrics("registry"),
      verifier: this.#verifier,
    });
    server.add(RegistryService, this.#registry());
    server.add(OutcomeService, {
      reportOutcomes: async ({ stream, groups }) => {
        if (this.outcomesDown) throw away();
        this.#refuseTables(groups);
        for (const { position } of groups) {
          const id = `${stream} ${position}`;
          this.told.set(id, (this.told.get(id) ?? 0) + 1);
        }
        const fresh = freshOf(this.#counted.outcomes, stream, groups);
        this.outcomes.push(...fresh);
        return { counted: fresh.length };
      },
    });
    server.add(MetricsService, {
      recordOutcomes: async ({ stream, groups }) => {
        if (this.samplesDown) throw away();
        this.#refuseTables(groups);
        const fresh = freshOf(this.#counted.samples, stream, groups);
        this.samples.push(...fresh);
        return { stored: fresh.length };
      },
    });
    this.port = (await server.listen()).port;
    this.#server = server;
  }

  async close(): Promise<void> {
    for (const watcher of this.#watchers) watcher.end();
    await this.#server?.close(200);
  }

  /** Registers an agent, or changes it. */
  register(fake: FakeAgent): void {
    const agent = toAgent(fake);
    this.#agents.set(`${agent.namespace}/${agent.agentId}`, agent);
    this.#tell({ agents: [agent] });
  }

  /** Removes an agent. */
  remove(agentId: string, namespace = "default"): void {
    this.#agents.delete(`${namespace}/${agentId}`);
    this.#tell({ removed: [{ namespace, agentId }] });
  }

  #refuseTables(groups: readonly OutcomeGroup[]): void {
    if (!this.older || groups.every(({ outcomes }) => outcomes.length > 0)) return;
    throw new NexusError({ kind: "invalid", reason: "REQUEST_INVALID", message: "no outcomes" });
  }

  #tell(init: Parameters<typeof create<typeof WatchAgentsResponseSchema>>[1]): void {
    this.#token += 1;
    const message = create(WatchAgentsResponseSchema, {
      ...init,
      resumeToken: String(this.#token),
    });
    for (const watcher of this.#watchers) watcher.push(message);
  }

  #registry(): ServiceImplementation<typeof RegistryService> {
    const refuse = () => Promise.reject(new Error("not part of the test"));
    return {
      registerAgent: refuse,
      getAgent: refuse,
      listAgents: refuse,
      updateAgent: refuse,
      deregisterAgent: refuse,
      discoverAgents: refuse,
      watchAgents: (_request, ctx) => this.#watch(ctx.signal),
    };
  }

  async *#watch(signal: AbortSignal): AsyncGenerator<WatchAgentsResponse> {
    const queue = createAsyncQueue<WatchAgentsResponse>({ max: 10_000 });
    signal.addEventListener("abort", () => queue.end(), { once: true });
    this.#watchers.add(queue);
    queue.push(
      create(WatchAgentsResponseSchema, {
        agents: [...this.#agents.values()],
        snapshotComplete: true,
        resumeToken: String(this.#token),
      }),
    );
    try {
      yield* queue;
    } finally {
      this.#watchers.delete(queue);
    }
  }
}

/** Leaves out what was counted, as the receivers do. */
function freshOf(
  counted: Map<string, bigint>,
  stream: string,
  groups: readonly OutcomeGroup[],
): AttemptOutcome[] {
  const position = counted.get(stream) ?? 0n;
  const fresh = groups.filter((group) => group.position > position);
  counted.set(stream, fresh.at(-1)?.position ?? position);
  return fresh.flatMap(outcomesOf);
}

function away(): NexusError {
  return new NexusError({ kind: "unavailable", reason: "UNAVAILABLE", message: "away" });
}

function toAgent(fake: FakeAgent): Agent {
  const capabilities = fake.capabilities.map((text) => {
    const [name = "", version = "1.0.0"] = text.split("@");
    return { name, version };
  });
  return create(AgentSchema, {
    namespace: fake.namespace ?? "default",
    agentId: fake.agentId,
    capabilities,
    labels: fake.labels ?? {},
    region: fake.region ?? "",
    slots: 4,
    reputations: capabilities.map(({ name }) => ({
      capability: name,
      score: 1,
      lowerBound: fake.reputation ?? 0.5,
      evidence: 10,
    })),
  });
}
