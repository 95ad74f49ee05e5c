/** A whole deployment for one test file: real processes, real Postgres, clients through the gateway. */
import { type ChildProcess, spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Stack, type StackOptions, startStack } from "@nexus/devkit";
import {
  createAgent,
  createClient,
  type Job,
  JobState,
  type NexusClient,
  type PlannedTask,
  PrincipalKind,
  type RunningAgent,
  toTaskSpec,
} from "@nexus/sdk";
import { createSilentLogger } from "@nexus/shared";
import { waitFor } from "@nexus/testkit";

/** Short enough for tests, long enough for a busy machine. */
export const LOST_AFTER_MS = 3_000;

/** The fewest that vault takes: a login costs a sixth of what it does elsewhere. */
const PASSWORD_ITERATIONS = "100000";
const USER_PASSWORD = "a password for tests";

/** A running deployment and what tests need of it. */
export interface TestFleet extends AsyncDisposable {
  readonly stack: Stack;
  readonly admin: NexusClient;
  /** A user with the usual scopes, or with these; in the default namespace, or in another one. */
  createUser(options?: { scopes?: readonly string[]; namespace?: string }): Promise<TestUser>;
  /** An identity for an agent, with the usual scopes or with these; the same one when asked for again. */
  createAgentIdentity(
    agentId: string,
    scopes?: readonly string[],
  ): Promise<{ agentId: string; clientSecret: string }>;
  /** An agent inside the test's own process, with `work.echo` and `work.wait`. */
  startAgent(agentId: string, slots?: number): Promise<TestAgent>;
  /** An agent as a process of its own, that can be killed, and then started again. */
  spawnAgent(agentId: string, slots?: number, worker?: WorkerOptions): Promise<ChildProcess>;
}

/** What kind of worker an agent's process is; it tells its parent WorkerWords. */
export interface WorkerOptions {
  /** What it can do: wait for as long as the task says. @default "work.wait" */
  readonly capability?: string;
  /** How far its clock is off. @default 0 */
  readonly clockSkewMs?: number;
  /** Where it finds the gateway, if not where everybody does. */
  readonly gateway?: string;
}

/** How a fleet differs from six services on a fast and forgetful database. */
export interface FleetOptions extends Pick<StackOptions, "orchestrators" | "tls"> {
  readonly dataDir?: string;
  readonly durable?: boolean;
  readonly env?: Exclude<StackOptions["env"], Readonly<Record<string, string>> | undefined>;
}

/** What a worker's process tells. */
export interface WorkerWord {
  readonly key: string;
  readonly what: "began" | "told to stop";
}

export interface TestUser {
  readonly principalId: string;
  readonly password: string;
  readonly client: NexusClient;
}

export interface TestAgent {
  readonly agent: RunningAgent;
  /** Task keys in the order in which this agent began them. */
  readonly begun: string[];
}

/** Starts the six services and Postgres; give the same dataDir to start them again on the same data. */
export async function startFleet(options: FleetOptions = {}): Promise<TestFleet> {
  const dataDir = options.dataDir ?? mkdtempSync(join(tmpdir(), "nexus-e2e-"));
  const stack = await startStack({
    dataDir,
    portBase: "free",
    durable: options.durable ?? false,
    orchestrators: options.orchestrators ?? 1,
    tls: options.tls ?? false,
    env: (name, own) => ({
      NEXUS_VAULT_PASSWORD_ITERATIONS: PASSWORD_ITERATIONS,
      NEXUS_MESH_ROUTER_LOST_AFTER_MS: String(LOST_AFTER_MS),
      NEXUS_MESH_ROUTER_HEARTBEAT_INTERVAL_MS: "500",
      ...options.env?.(name, own),
    }),
  });
  const { gateway, caFile } = stack.info;
  const at = { gateway, ...(caFile === undefined ? {} : { tls: { caFile } }) };
  const { namespace, user: principalId, password } = stack.admin;
  const admin = createClient({
    ...at,
    credentials: { kind: "password", namespace, principalId, password },
  });
  const children: ChildProcess[] = [];
  const agents: RunningAgent[] = [];
  const clients: NexusClient[] = [admin];

  const identities = new Map<string, { agentId: string; clientSecret: string }>();
  const createAgentIdentity = async (agentId: string, scopes: readonly string[] = []) => {
    const known = identities.get(agentId);
    if (known !== undefined) return known;
    const request = {
      requestId: randomUUID(),
      principalId: agentId,
      kind: PrincipalKind.AGENT,
      scopes: [...scopes],
    };
    const { clientSecret } = await admin.principals.createPrincipal(request);
    const identity = { agentId, clientSecret };
    identities.set(agentId, identity);
    return identity;
  };

  return {
    stack,
    admin,
    createAgentIdentity,
    createUser: async ({ scopes = [], namespace: tenant = "" } = {}) => {
      const user = `user-${randomUUID().slice(0, 8)}`;
      await admin.principals.createPrincipal({
        requestId: randomUUID(),
        principalId: user,
        kind: PrincipalKind.USER,
        password: USER_PASSWORD,
        scopes: [...scopes],
        namespace: tenant,
      });
      const credentials = {
        kind: "password" as const,
        principalId: user,
        password: USER_PASSWORD,
        ...(tenant === "" ? {} : { namespace: tenant }),
      };
      const client = createClient({ ...at, credentials });
      clients.push(client);
      return { principalId: user, password: USER_PASSWORD, client };
    },
    startAgent: async (agentId, slots = 4) => {
      const identity = await createAgentIdentity(agentId);
      const begun: string[] = [];
      const agent = await createAgent({ ...identity, ...at, slots, logger: createSilentLogger() })
        .capability("work.echo@1.0.0", {}, (ctx, input) => {
          begun.push(ctx.task.key);
          return { agentId, key: ctx.task.key, input, upstream: [...ctx.upstream.keys()] };
        })
        .capability<{ ms: number }>("work.wait@1.0.0", {}, async (ctx, { ms }) => {
          begun.push(ctx.task.key);
          await new Promise<void>((resolve) => {
            const timer = setTimeout(resolve, ms);
            ctx.signal.addEventListener("abort", () => {
              clearTimeout(timer);
              resolve();
            });
          });
          return { agentId, key: ctx.task.key };
        })
        .start();
      agents.push(agent);
      return { agent, begun };
    },
    spawnAgent: async (agentId, slots = 1, worker = {}) => {
      const { clientSecret } = await createAgentIdentity(agentId);
      const child = spawn(
        process.execPath,
        ["--import", fixture("shifted-clock.mjs"), fixture("worker.mjs")],
        {
          stdio: ["ignore", "inherit", "inherit", "ipc"],
          env: {
            ...process.env,
            WORKER_ID: agentId,
            WORKER_SECRET: clientSecret,
            WORKER_GATEWAY: worker.gateway ?? gateway,
            WORKER_SLOTS: String(slots),
            WORKER_CAPABILITY: worker.capability ?? "work.wait",
            WORKER_CLOCK_SKEW_MS: String(worker.clockSkewMs ?? 0),
          },
        },
      );
      children.push(child);
      await waitFor(
        async () => {
          const { agents: online } = await admin.registry.listAgents({ states: [1] });
          return online.some((one) => one.agentId === agentId);
        },
        { timeoutMs: 20_000, what: `${agentId} to come online` },
      );
      return child;
    },
    [Symbol.asyncDispose]: async () => {
      for (const child of children) child.kill("SIGKILL");
      await Promise.all(agents.map((agent) => agent.drain(0)));
      for (const client of clients) client.close();
      await stack.stop();
      if (options.dataDir === undefined) rmSync(dataDir, { recursive: true, force: true });
    },
  };
}

function fixture(name: string): string {
  return join(import.meta.dirname, "fixtures", name);
}

/** Submits tasks and returns the job's id. */
export async function submitTasks(
  client: NexusClient,
  tasks: readonly PlannedTask[],
): Promise<string> {
  const { job } = await client.jobs.submitJob({
    requestId: randomUUID(),
    tasks: tasks.map(toTaskSpec),
  });
  return job?.jobId ?? "";
}

/** Waits for a job's end. Reads may fail meanwhile: tests take services down. */
export function waitForEnd(client: NexusClient, jobId: string, timeoutMs = 60_000): Promise<Job> {
  const ended = new Set([JobState.COMPLETED, JobState.FAILED, JobState.CANCELLED]);
  return waitFor(
    async () => {
      const response = await client.jobs.getJob({ jobId }).catch(() => undefined);
      const job = response?.job;
      return job !== undefined && ended.has(job.state) ? job : undefined;
    },
    { timeoutMs, what: `job ${jobId} to end` },
  );
}
