/** A registry with a database of its own, and clients of it for whoever calls. */
import type { ConfigOfFields } from "@nexus/core";
import {
  AgentState,
  OutcomeService,
  PresenceService,
  RegistryService,
  type WatchAgentsResponse,
} from "@nexus/proto/registry";
import {
  createRpcChannel,
  createRpcClient,
  type RpcChannel,
  type RpcClient,
  WireWriter,
} from "@nexus/rpc";
import type { NexusError } from "@nexus/shared";
import {
  createTestDatabase,
  createTestIdentity,
  type TestDatabase,
  type TestDatabaseOptions,
  type TestIdentity,
  type TestTokenInit,
  testConfig,
} from "@nexus/testkit";
import { expect } from "vitest";
import { schema } from "../src/config.ts";
import { startServer } from "../src/server.ts";

/** Settings that a test changes. */
export type RegistrySettings = Partial<ConfigOfFields<(typeof schema)["fields"]>>;

/** Clients of one replica that speak for one principal. */
export interface Clients {
  readonly registry: RpcClient<typeof RegistryService>;
  readonly presence: RpcClient<typeof PresenceService>;
  readonly outcome: RpcClient<typeof OutcomeService>;
}

/** One replica. */
export interface Replica {
  readonly address: string;
  readonly opsAddress: string;
  /** Clients with a token made from this. */
  as(principal: TestTokenInit): Clients;
  /** A user of namespace default with every scope. */
  readonly user: Clients;
  /** A service, which may do what is internal. */
  readonly service: Clients;
  stop(): Promise<void>;
}

/** A database and what runs on it. */
export interface Bench {
  readonly database: TestDatabase;
  readonly identity: TestIdentity;
  start(settings?: RegistrySettings): Promise<Replica>;
  close(): Promise<void>;
}

/** Creates a bench. Close it in afterAll. */
export async function createBench(options: TestDatabaseOptions = {}): Promise<Bench> {
  const database = await createTestDatabase("registry", options);
  const identity = createTestIdentity();
  const replicas = new Set<Replica>();
  return {
    database,
    identity,
    start: async (settings = {}) => {
      const replica = await startReplica(database, identity, settings);
      replicas.add(replica);
      return replica;
    },
    close: async () => {
      for (const replica of replicas) await replica.stop();
      await database.close();
    },
  };
}

async function startReplica(
  database: TestDatabase,
  identity: TestIdentity,
  settings: RegistrySettings,
): Promise<Replica> {
  const config = testConfig(schema, { databaseUrl: database.url, ...settings });
  const service = await startServer(config, {
    verifier: identity.verifier,
    tokens: identity.tokens({ sub: "registry", kind: "service" }),
  });
  const channel = createRpcChannel({ address: service.address });
  const as = (principal: TestTokenInit) => clientsOf(channel, identity, principal);
  let stopping: Promise<void> | undefined;
  return {
    address: service.address,
    opsAddress: service.opsAddress,
    as,
    user: as({ sub: "ada" }),
    service: as({ sub: "mesh-router", kind: "service" }),
    stop: () => {
      stopping ??= (async () => {
        channel.close();
        await service[Symbol.asyncDispose]();
      })();
      return stopping;
    },
  };
}

function clientsOf(channel: RpcChannel, identity: TestIdentity, principal: TestTokenInit): Clients {
  const tokens = identity.tokens(principal);
  return {
    registry: createRpcClient(RegistryService, channel, { tokens }),
    presence: createRpcClient(PresenceService, channel, { tokens }),
    outcome: createRpcClient(OutcomeService, channel, { tokens }),
  };
}

let counter = 0;

/** A request id nobody used before. */
export function requestId(): string {
  counter += 1;
  return `request-${counter}`;
}

/** A registration with one capability. */
export function registration(agentId: string, changes: object = {}) {
  return {
    requestId: requestId(),
    agentId,
    capabilities: [{ name: "text.analyse", version: "1.0.0" }],
    ...changes,
  };
}

/** The same capability in the same version, two times. */
export function twice() {
  return [
    { name: "a", version: "1.0.0" },
    { name: "a", version: "1.0.0" },
  ];
}

/** A presence entry of an agent that is online. */
export function online(agentId: string, changes: object = {}) {
  return {
    namespace: "default",
    agentId,
    epoch: 1n,
    state: AgentState.ONLINE,
    slots: 1,
    busySlots: 0,
    ...changes,
  };
}

/** An outcome that succeeded. */
export function outcome(agentId: string, taskId: string, changes: object = {}) {
  return {
    namespace: "default",
    agentId,
    capability: "text.analyse",
    jobId: "job-1",
    taskId,
    fence: 1n,
    attempt: 1,
    success: true,
    endTime: { seconds: 1_800_000_000n },
    ...changes,
  };
}

/** A group of outcomes. */
export function group(position: number, ...outcomes: object[]) {
  return { position: BigInt(position), outcomes };
}

/** A group whose attempts are a table: each is the numbers that the contract says. */
export function tableGroup(
  position: number,
  kinds: readonly object[],
  attempts: readonly (readonly number[])[],
) {
  const writer = new WireWriter();
  for (const number of attempts.flat()) writer.varint(number);
  const named = kinds.map((kind) => {
    return { namespace: "default", capability: "text.analyse", success: true, ...kind };
  });
  const endTime = { seconds: 1_800_000_000n };
  const table = { endTime, kinds: named, jobIds: ["job-1", "job-2"], attempts: writer.take() };
  return { position: BigInt(position), table };
}

/** A stream of outcomes nobody used before. */
export function newStream(): string {
  counter += 1;
  return `orchestrator-1/${counter}`;
}

/** A report of outcomes, on a stream of its own. */
export function reportOf(...outcomes: object[]) {
  return { stream: newStream(), groups: [group(1, ...outcomes)] };
}

/** Registers an agent and brings it online. */
export async function connect(
  replica: Replica,
  agentId: string,
  changes: { readonly registration?: object; readonly presence?: object } = {},
): Promise<void> {
  await replica.user.registry.registerAgent(registration(agentId, changes.registration));
  await replica.service.presence.reportPresence({
    routerId: "router-1",
    presences: [online(agentId, changes.presence)],
  });
}

/** Expects a call to fail with a kind and a reason. */
export async function expectError(
  call: Promise<unknown>,
  kind: NexusError["kind"],
  reason: string,
): Promise<NexusError> {
  const error = await call.then(
    () => undefined,
    (thrown: unknown) => thrown as NexusError,
  );
  expect(error, "the call succeeded").toBeDefined();
  expect({ kind: error?.kind, reason: error?.reason }).toEqual({ kind, reason });
  return error as NexusError;
}

/** A watch that is read message by message. */
export interface WatchReader {
  /** The next message; fails when the stream ends. */
  next(): Promise<WatchAgentsResponse>;
  /** Reads until a message satisfies the condition, and returns all that were read. */
  until(condition: (message: WatchAgentsResponse) => boolean): Promise<WatchAgentsResponse[]>;
  close(): void;
}

/** Opens a watch. */
export function openWatch(clients: Clients, request: object = {}): WatchReader {
  const stop = new AbortController();
  const stream = clients.registry.watchAgents(request, { signal: stop.signal });
  const iterator = stream[Symbol.asyncIterator]();
  const next = async () => {
    const result = await iterator.next();
    if (result.done === true) throw new Error("the watch ended");
    return result.value;
  };
  return {
    next,
    until: async (condition) => {
      const messages = [];
      for (;;) {
        const message = await next();
        messages.push(message);
        if (condition(message)) return messages;
      }
    },
    close: () => stop.abort(),
  };
}
