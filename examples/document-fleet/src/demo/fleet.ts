import { type ChildProcess, spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { createWriteStream, mkdirSync } from "node:fs";
import { join } from "node:path";
import { type NexusClient, PrincipalKind } from "@nexus/sdk";

/** One agent of the fleet: which program, and what it is told of itself. */
interface AgentSpec {
  readonly agentId: string;
  readonly program: "planner" | "analyser" | "composer";
  readonly slots: number;
  readonly labels: string;
}

const FLEET: readonly AgentSpec[] = [
  { agentId: "planner-1", program: "planner", slots: 1, labels: "role=planner" },
  { agentId: "analyser-1", program: "analyser", slots: 4, labels: "size=large,zone=a" },
  { agentId: "analyser-2", program: "analyser", slots: 2, labels: "size=medium,zone=a" },
  { agentId: "analyser-3", program: "analyser", slots: 1, labels: "size=small,zone=b" },
  { agentId: "composer-1", program: "composer", slots: 1, labels: "role=composer" },
];

/** Running agents, each a process of its own. */
export interface Fleet {
  readonly agentIds: readonly string[];
  pidOf(agentId: string): number | undefined;
  signal(agentId: string, signal: NodeJS.Signals): void;
  /** Asks all to drain, and kills what does not end in time. */
  stop(): Promise<void>;
}

const STOP_TIMEOUT_MS = 8_000;

/** Gives every agent an identity and starts its process. Its log goes to <workFolder>/<agent>.log. */
export async function launchFleet(
  admin: NexusClient,
  { gateway, caFile }: { readonly gateway: string; readonly caFile?: string | undefined },
  workFolder: string,
): Promise<Fleet> {
  mkdirSync(workFolder, { recursive: true });
  const children = new Map<string, ChildProcess>();
  await Promise.all(
    FLEET.map(async (spec) => {
      const { clientSecret } = await admin.principals.createPrincipal({
        requestId: randomUUID(),
        principalId: spec.agentId,
        kind: PrincipalKind.AGENT,
      });
      const env = {
        NEXUS_AGENT_SECRET: clientSecret,
        NEXUS_GATEWAY: gateway,
        NEXUS_CA_FILE: caFile ?? "",
      };
      children.set(spec.agentId, spawnAgent(spec, env, workFolder));
    }),
  );
  return {
    agentIds: FLEET.map(({ agentId }) => agentId),
    pidOf: (agentId) => children.get(agentId)?.pid,
    signal: (agentId, signal) => {
      children.get(agentId)?.kill(signal);
    },
    stop: () => stopAll([...children.values()]),
  };
}

function spawnAgent(
  spec: AgentSpec,
  env: Readonly<Record<string, string>>,
  workFolder: string,
): ChildProcess {
  const program = join(import.meta.dirname, "../agents", `${spec.program}.js`);
  const child = spawn(process.execPath, [program], {
    stdio: ["ignore", "pipe", "pipe"],
    env: {
      ...process.env,
      ...env,
      NEXUS_AGENT_ID: spec.agentId,
      NEXUS_AGENT_SLOTS: String(spec.slots),
      NEXUS_AGENT_LABELS: spec.labels,
    },
  });
  const log = createWriteStream(join(workFolder, `${spec.agentId}.log`));
  child.stdout?.pipe(log, { end: false });
  child.stderr?.pipe(log, { end: false });
  child.once("close", () => log.end());
  return child;
}

async function stopAll(children: readonly ChildProcess[]): Promise<void> {
  const running = children.filter((child) => child.exitCode === null && child.signalCode === null);
  for (const child of running) child.kill("SIGTERM");
  const timer = setTimeout(() => {
    for (const child of running) child.kill("SIGKILL");
  }, STOP_TIMEOUT_MS);
  await Promise.all(running.map((child) => once(child, "exit")));
  clearTimeout(timer);
}
