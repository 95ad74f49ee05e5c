/** A whole stack, and the command run against it inside the test's own process: as a user's, but for its start. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Stack, startStack } from "@nexus/devkit";
import { type AgentBuilder, createAgent, createClient, type NexusClient } from "@nexus/sdk";
import { createSilentLogger } from "@nexus/shared";
import { run } from "../src/program.ts";
import { createFakeTerminal } from "../src/terminal.fake.ts";

/** The fewest that vault takes: a login costs a sixth of what it does elsewhere. */
const FEW_ITERATIONS = { NEXUS_VAULT_PASSWORD_ITERATIONS: "100000" };

/** How a command ended. */
export interface Outcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** A stack with a folder for one user's profile. */
export class CommandStack implements AsyncDisposable {
  readonly stack: Stack;
  readonly admin: NexusClient;
  /** Where the profile is, and files for commands to read may be. */
  readonly home: string;

  private constructor(stack: Stack, home: string) {
    const { namespace, user: principalId, password } = stack.admin;
    const credentials = { kind: "password" as const, namespace, principalId, password };
    this.stack = stack;
    this.home = home;
    this.admin = createClient({ gateway: stack.info.gateway, credentials });
  }

  static async start(): Promise<CommandStack> {
    const home = mkdtempSync(join(tmpdir(), "nexus-home-"));
    const dataDir = join(home, "data");
    const options = { dataDir, portBase: "free", durable: false, env: FEW_ITERATIONS } as const;
    return new CommandStack(await startStack(options), home);
  }

  /** Runs one command line. */
  readonly nexus = (...argv: string[]): Promise<Outcome> => this.nexusWith("", ...argv);

  /** Runs one command line with something on its standard input. */
  async nexusWith(input: string, ...argv: string[]): Promise<Outcome> {
    return this.interruptible(new AbortController().signal, argv, input);
  }

  /** Runs one command line until it ends or is interrupted. */
  async interruptible(signal: AbortSignal, argv: readonly string[], input = ""): Promise<Outcome> {
    return this.follow(signal, argv, input).outcome;
  }

  /** Runs one command line with a token in its environment. */
  async nexusAs(token: string, ...argv: string[]): Promise<Outcome> {
    return this.follow(new AbortController().signal, argv, "", { NEXUS_TOKEN: token }).outcome;
  }

  /** Begins one command line, and shows what it has printed so far. */
  follow(signal: AbortSignal, argv: readonly string[], input = "", more: NodeJS.ProcessEnv = {}) {
    const { terminal, stdout, stderr } = createFakeTerminal(input);
    const { gateway } = this.stack.info;
    const env = { NEXUS_CONFIG_DIR: this.home, NEXUS_GATEWAY: gateway, ...more };
    const ended = run({ argv, env, terminal, signal });
    const outcome = ended.then((code): Outcome => ({ code, stdout: stdout(), stderr: stderr() }));
    return { stdout, stderr, outcome };
  }

  /** Submits tasks and says the job's id. */
  async submit(tasks: readonly object[]): Promise<string> {
    const { stdout } = await this.nexus("jobs", "submit", "--tasks", JSON.stringify(tasks));
    return stdout.trim();
  }

  /** An agent to give capabilities to; the command makes its identity. */
  async agent(agentId: string): Promise<AgentBuilder> {
    const { stdout } = await this.nexus("principals", "create", agentId, "-o", "json");
    const { clientSecret } = JSON.parse(stdout) as { clientSecret: string };
    const { gateway } = this.stack.info;
    return createAgent({ agentId, clientSecret, gateway, logger: createSilentLogger() });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.admin.close();
    await this.stack.stop();
    rmSync(this.home, { recursive: true, force: true });
  }
}
