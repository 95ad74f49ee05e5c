/** Everything that a run stands on: a stack of its own, and worker processes that are started when first needed. */
import { randomBytes, randomUUID } from "node:crypto";
import { fillLog, type ServiceName, type Stack, type StackInfo, startStack } from "@nexus/devkit";
import { createClient, type NexusClient, PrincipalKind } from "@nexus/sdk";
import type { AgentCommands } from "../processes/agent.ts";
import type { ClientCommands } from "../processes/client.ts";
import {
  AGENTS,
  LOGIN_CONCURRENCY,
  passwordIterations,
  SLOTS,
  WAITING_TASKS_MAX,
} from "./fleet.ts";
import { readFamilyCpuSeconds } from "./process-cpu.ts";
import { untilQuiet } from "./quiet.ts";
import { forkWorker, type Worker } from "./worker.ts";

const UNLIMITED_CALLS = "1000000";
const PASSWORD_BYTES = 18;
const SETTLE_MS = 30_000;

/** What differs from a default deployment, and why. */
const ENVIRONMENT = {
  // One client plays many: the gateway's protection against a single busy caller would be what is measured.
  NEXUS_GATEWAY_CALLS_PER_SECOND_MAX: UNLIMITED_CALLS,
  NEXUS_GATEWAY_PUBLIC_CALLS_PER_SECOND_MAX: UNLIMITED_CALLS,
  // The scenario `backlog` has a million tasks wait.
  NEXUS_ORCHESTRATOR_WAITING_TASKS_MAX: String(WAITING_TASKS_MAX),
  NEXUS_ORCHESTRATOR_NAMESPACE_WAITING_TASKS_MAX: String(WAITING_TASKS_MAX),
  NEXUS_ORCHESTRATOR_WAITING_MEMORY_MIB_MAX: "1024",
  // By default an agent gets 20 tasks at most, whatever its slots.
  NEXUS_ORCHESTRATOR_BULKHEAD: String(SLOTS),
  NEXUS_VAULT_LOGIN_CONCURRENCY: String(LOGIN_CONCURRENCY),
};

/** The client process. */
export type ClientWorker = Worker<ClientCommands>;

/** An agent process. */
export interface AgentWorker extends Worker<AgentCommands> {
  readonly agentId: string;
}

/** A running stack with its load generators. */
export interface Bed extends AsyncDisposable {
  readonly info: StackInfo;
  /** Connection string of the superuser of the stack's database server. */
  readonly postgresUrl: string;
  /** Where every process writes its CPU profile; undefined when none is wanted. */
  readonly profileDir: string | undefined;
  /** Short, to see that all goes, or long enough to compare. */
  readonly quick: boolean;
  /** Says on standard error what is being done. */
  progress(text: string): void;
  /** Waits, within bounds, until the load of what was measured before is over; not in a quick run, which compares nothing. */
  settle(): Promise<void>;
  /** The client process, acting as the administrator. */
  client(): Promise<ClientWorker>;
  /** All agent processes, with open sessions. */
  agents(): Promise<readonly AgentWorker[]>;
  /** A principal of the usual scopes that nothing else uses. */
  createAgentPrincipal(): Promise<{ principalId: string; clientSecret: string }>;
  createUser(): Promise<{ principalId: string; password: string }>;
  /** A token of the administrator, for a program that is given one. */
  adminToken(): Promise<string>;
  /** What a service proves itself to vault with. */
  clientSecretOf(service: ServiceName): string;
}

/** What openBed needs. */
export interface BedOptions {
  readonly dataDir: string;
  readonly quick: boolean;
  readonly profileDir: string | undefined;
  /** The heap of each service, in MiB. */
  readonly heapMib: number;
  /** Processes of the mesh-router. */
  readonly meshRouters: number;
  readonly signal: AbortSignal;
  readonly progress: (text: string) => void;
}

/** Starts a stack on free ports with a durable database. Logs go to files, as a service's would. */
export async function openBed(options: BedOptions): Promise<Bed> {
  const { dataDir, quick, profileDir, heapMib, meshRouters, signal, progress } = options;
  const clientSecrets = new Map<string, string>();
  const iterations = String(passwordIterations(options));
  const stack = await startStack({
    dataDir,
    portBase: "free",
    logs: "file",
    durable: true,
    env: (name, own) => {
      clientSecrets.set(name, own[clientSecretVariable(name)] ?? "");
      return { ...ENVIRONMENT, NEXUS_VAULT_PASSWORD_ITERATIONS: iterations };
    },
    heapMib,
    meshRouters,
    ...(profileDir === undefined ? {} : { profileDir }),
    signal,
    onNotice: progress,
  });
  if (!quick) await orStop(stack, fillLog(stack.postgresUrl));
  const admin = connectAdmin(stack);
  const workers: { stop(): Promise<void> }[] = [];
  const keep = <W extends { stop(): Promise<void> }>(worker: W): W => {
    workers.push(worker);
    return worker;
  };
  const { gateway } = stack.info;
  let client: Promise<ClientWorker> | undefined;
  let agents: Promise<readonly AgentWorker[]> | undefined;
  const numbers = Array.from({ length: AGENTS }, (_, index) => index + 1);
  return {
    info: stack.info,
    postgresUrl: stack.postgresUrl,
    profileDir,
    quick,
    progress,
    settle: () => settle(stack, options),
    client: () => {
      client ??= startClient(
        stack,
        keep(forkWorker<ClientCommands>("client", { name: "client", profileDir })),
      );
      return client;
    },
    agents: () => {
      agents ??= Promise.all(
        numbers.map((number) => {
          const agentId = `bench-worker-${number}`;
          const worker = keep(forkWorker<AgentCommands>("agent", { name: agentId, profileDir }));
          return startAgent({ admin, gateway, agentId, worker, listens: number > AGENTS / 2 });
        }),
      );
      return agents;
    },
    createAgentPrincipal: () => createAgentPrincipal(admin, `bench-agent-${randomUUID()}`),
    createUser: () => createUser(admin),
    adminToken: async () => (await admin.credentials?.token()) ?? "",
    clientSecretOf: (service) => clientSecrets.get(service) ?? "",
    [Symbol.asyncDispose]: async () => {
      await Promise.all(workers.map((worker) => worker.stop()));
      admin.close();
      await stack.stop();
    },
  };
}

/** A stack that cannot be used is not left running. */
async function orStop(stack: Stack, work: Promise<void>): Promise<void> {
  try {
    await work;
  } catch (error) {
    await stack.stop();
    throw error;
  }
}

function clientSecretVariable(name: string): string {
  return `NEXUS_${name.toUpperCase().replaceAll("-", "_")}_CLIENT_SECRET`;
}

async function settle(stack: Stack, { quick, progress }: BedOptions): Promise<void> {
  if (quick) return;
  // Asking the services themselves would be work for them.
  const cpuSeconds = async () => {
    const { services, postgres } = stack.info;
    const used = [postgres, ...Object.values(services)].map(({ pid }) => readFamilyCpuSeconds(pid));
    const known = used.filter((seconds) => seconds !== undefined);
    return known.length < used.length ? undefined : known.reduce((sum, one) => sum + one, 0);
  };
  if ((await untilQuiet({ cpuSeconds, timeoutMs: SETTLE_MS })) === "gave up") {
    progress(`the stack may still be busy after ${SETTLE_MS / 1_000} s; going on`);
  }
}

function connectAdmin(stack: Stack): NexusClient {
  const { namespace, user: principalId, password } = stack.admin;
  const credentials = { kind: "password", namespace, principalId, password } as const;
  return createClient({ gateway: stack.info.gateway, credentials });
}

async function startClient(stack: Stack, worker: ClientWorker): Promise<ClientWorker> {
  const { namespace, user: principalId, password } = stack.admin;
  const { gateway } = stack.info;
  await worker.call("connect", { gateway, namespace, principalId, password });
  return worker;
}

interface AgentStart {
  readonly admin: NexusClient;
  readonly gateway: string;
  readonly agentId: string;
  readonly worker: Worker<AgentCommands>;
  readonly listens: boolean;
}

async function startAgent(start: AgentStart): Promise<AgentWorker> {
  const { admin, gateway, agentId, worker, listens } = start;
  const { clientSecret } = await createAgentPrincipal(admin, agentId);
  await worker.call("start", { gateway, agentId, clientSecret, slots: SLOTS, listens });
  return { ...worker, agentId };
}

async function createAgentPrincipal(admin: NexusClient, principalId: string) {
  const { clientSecret } = await admin.principals.createPrincipal({
    requestId: randomUUID(),
    principalId,
    kind: PrincipalKind.AGENT,
  });
  return { principalId, clientSecret };
}

async function createUser(admin: NexusClient) {
  const principalId = `bench-user-${randomUUID()}`;
  const password = randomBytes(PASSWORD_BYTES).toString("base64url");
  await admin.principals.createPrincipal({
    requestId: randomUUID(),
    principalId,
    kind: PrincipalKind.USER,
    password,
  });
  return { principalId, password };
}
