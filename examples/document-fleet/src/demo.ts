/** The demo: a control plane and a fleet on this machine, one objective, one report. */
import { randomBytes, randomUUID } from "node:crypto";
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Stack, startStack } from "@nexus/devkit";
import {
  AgentState,
  type ClientOptions,
  createClient,
  fromPayload,
  JobState,
  type NexusClient,
  PrincipalKind,
  TaskState,
  toPayload,
} from "@nexus/sdk";
import { type DemoArguments, parseArguments, USAGE } from "./demo/arguments.ts";
import { showFigures } from "./demo/figures.ts";
import { type Fleet, launchFleet } from "./demo/fleet.ts";
import { createScreen, type Screen } from "./demo/screen.ts";
import { watchToEnd } from "./demo/watch.ts";

/** Far more than five processes need, even on a machine that is busy with other things. */
const FLEET_TIMEOUT_MS = 90_000;
const FLEET_POLL_MS = 100;
const INTERRUPTED = 130;
/** The analyser with the most slots, so that it is sure to get work. */
const VICTIM = "analyser-1";
/** The lease is committed a moment before the task reaches the victim's process. */
const HELD_BEFORE_KILL_MS = 500;

process.exitCode = await main(process.argv.slice(2));

async function main(argv: readonly string[]): Promise<number> {
  let args: DemoArguments;
  try {
    args = parseArguments(argv);
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n\n${USAGE}`);
    return 2;
  }
  if (args.help) {
    process.stdout.write(USAGE);
    return 0;
  }
  const workFolder = mkdtempSync(join(tmpdir(), "nexus-demo-"));
  const stopping = new AbortController();
  process.once("SIGINT", () => stopping.abort());
  process.once("SIGTERM", () => stopping.abort());
  try {
    return await runWithStack(args, workFolder, stopping.signal);
  } catch (error) {
    if (stopping.signal.aborted) return INTERRUPTED;
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
    process.stderr.write(`The logs are in ${workFolder}.\n`);
    return 1;
  }
}

async function runWithStack(
  args: DemoArguments,
  workFolder: string,
  signal: AbortSignal,
): Promise<number> {
  const screen = createScreen(performance.now());
  screen.line(`starting NEXUS: a database and six services (logs in ${workFolder})`);
  const dataDir = join(workFolder, "stack");
  const tls = process.env["NEXUS_TLS"] === "1";
  const stack = await startStack({ dataDir, portBase: "free", signal, tls });
  try {
    screen.line(`ready at ${stack.info.gateway}`);
    const demo = runDemo({ args, stack, screen, workFolder });
    return await Promise.race([demo, interrupted(signal)]);
  } finally {
    await stack.stop();
    removeAllButLogs(dataDir);
  }
}

/** Report and logs stay to be read; the database, some 50 MB, and its secrets have served. */
function removeAllButLogs(dataDir: string): void {
  for (const name of readdirSync(dataDir)) {
    if (name !== "logs") rmSync(join(dataDir, name), { recursive: true, force: true });
  }
}

function interrupted(signal: AbortSignal): Promise<number> {
  return new Promise((resolve) => {
    signal.addEventListener("abort", () => resolve(INTERRUPTED), { once: true });
  });
}

interface DemoRun {
  readonly args: DemoArguments;
  readonly stack: Stack;
  readonly screen: Screen;
  readonly workFolder: string;
}

async function runDemo({ args, stack, screen, workFolder }: DemoRun): Promise<number> {
  const { gateway, caFile } = stack.info;
  const at = { gateway, ...(caFile === undefined ? {} : { tls: { caFile } }) };
  const { namespace, user: principalId, password } = stack.admin;
  await using admin = createClient({
    ...at,
    credentials: { kind: "password", namespace, principalId, password },
  });
  await using user = await createUser(admin, at);
  screen.line("logged in; starting five agents");
  const fleet = await launchFleet(admin, stack.info, workFolder);
  try {
    await waitForFleet(user, fleet);
    screen.line(`online: ${fleet.agentIds.join(", ")}`);
    if (args.killAnAgent) {
      fleet.signal(VICTIM, "SIGSTOP");
      screen.line(`${VICTIM} is frozen: it will take tasks and never answer`);
    }
    const reportFile = args.reportFile ?? join(workFolder, "report.md");
    return await runJob({ args, user, fleet, screen, reportFile });
  } finally {
    await fleet.stop();
  }
}

/** A person without any rights of administration: the objective is theirs. */
async function createUser(
  admin: NexusClient,
  at: Pick<ClientOptions, "gateway" | "tls">,
): Promise<NexusClient> {
  const principalId = "demo-user";
  const password = randomBytes(18).toString("base64url");
  await admin.principals.createPrincipal({
    requestId: randomUUID(),
    principalId,
    kind: PrincipalKind.USER,
    password,
  });
  return createClient({ ...at, credentials: { kind: "password", principalId, password } });
}

async function waitForFleet(user: NexusClient, fleet: Fleet): Promise<void> {
  const deadline = performance.now() + FLEET_TIMEOUT_MS;
  for (;;) {
    const { agents } = await user.registry.listAgents({ states: [AgentState.ONLINE] });
    if (agents.length === fleet.agentIds.length) return;
    if (performance.now() > deadline) {
      throw new Error(`Only ${agents.length} of ${fleet.agentIds.length} agents came online.`);
    }
    await new Promise((resolve) => setTimeout(resolve, FLEET_POLL_MS));
  }
}

interface JobRun {
  readonly args: DemoArguments;
  readonly user: NexusClient;
  readonly fleet: Fleet;
  readonly screen: Screen;
  readonly reportFile: string;
}

async function runJob({ args, user, fleet, screen, reportFile }: JobRun): Promise<number> {
  const objective = `report on the documents in ${args.folder}`;
  const { job: submitted } = await user.jobs.submitJob({
    requestId: randomUUID(),
    objective,
    input: toPayload({ folder: args.folder }),
  });
  const jobId = submitted?.jobId ?? "";
  screen.line(`submitted "${objective}" as ${jobId}`);
  let alive = args.killAnAgent;
  const job = await watchToEnd(user, jobId, screen, (taskKey, state, agentId) => {
    if (!alive || agentId !== VICTIM || state !== TaskState.LEASED) return;
    alive = false;
    setTimeout(() => {
      fleet.signal(VICTIM, "SIGKILL");
      screen.line(
        `${VICTIM} killed with SIGKILL while it held ${taskKey}; its session ends in 15 s`,
      );
    }, HELD_BEFORE_KILL_MS);
  });
  if (job.planSummary !== "") screen.line(`the plan was: ${job.planSummary}`);
  if (job.state !== JobState.COMPLETED) {
    screen.line(`the job did not complete: ${job.failure?.reason} ${job.failure?.message}`);
    return 1;
  }
  const report = fromPayload(job.results["compose"]);
  if (typeof report !== "string") throw new Error("The job has no report.");
  writeFileSync(reportFile, report);
  screen.line(`report written to ${reportFile} (${report.split("\n").length} lines)`);
  await showFigures(user, jobId, screen);
  return 0;
}
