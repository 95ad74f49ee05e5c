import type { NexusClient } from "@nexus/sdk";
import { NEXUS_VERSION, NexusError } from "@nexus/shared";
import { Command, CommanderError, Option, type OutputConfiguration } from "commander";
import { CommandArguments, type CommandContext, type CommandSpec } from "./command.ts";
import { COMMANDS, loadNamed, NOUNS, singularOf } from "./command-table.ts";
import { EXIT, exitCodeOf } from "./exit-codes.ts";
import { parseFormat, writeError } from "./output.ts";
import { type GlobalFlags, gatewayOf } from "./session.ts";
import type { Terminal } from "./terminal.ts";
import { usageError } from "./usage-error.ts";

const DEFAULT_TIMEOUT_S = 30;

/** What one run of the command is given. Nothing of it is of the process: a test brings its own. */
export interface Invocation {
  /** The command line without the program. */
  readonly argv: readonly string[];
  readonly env: NodeJS.ProcessEnv;
  readonly terminal: Terminal;
  /** Aborts on Ctrl-C. */
  readonly signal: AbortSignal;
}

/** Runs one command line and returns the exit code. Nothing here ends the process. */
export async function run(invocation: Invocation): Promise<number> {
  const { terminal } = invocation;
  let exitCode: number = EXIT.ok;
  /** Held back: it may have to be said as JSON. */
  let parserSaid = "";
  const program = createProgram({
    specs: [...COMMANDS, ...(await loadNamed(invocation.argv))],
    output: {
      writeOut: (text) => terminal.stdout.write(text),
      writeErr: (text) => {
        parserSaid += text;
      },
    },
    action: async (spec, args, flags) => {
      exitCode = await runCommand({ spec, args, flags, ...invocation });
    },
  });
  try {
    await program.parseAsync([...invocation.argv], { from: "user" });
    return exitCode;
  } catch (error) {
    // What the parser got to read of it before it stopped.
    const format = program.opts<{ output?: string }>().output === "json" ? "json" : "table";
    if (!(error instanceof CommanderError)) return report(error, { ...invocation, format });
    if (error.exitCode === 0) return EXIT.ok;
    if (format === "table") terminal.stderr.write(parserSaid);
    else writeError({ terminal }, usageError(messageOf(error)), format);
    return EXIT.usage;
  }
}

function messageOf({ code, message }: CommanderError): string {
  if (code === "commander.help") return "There is no command here; --help lists them.";
  return message.replace(/^error: /, "");
}

interface ProgramParts {
  readonly specs: readonly CommandSpec[];
  readonly output: OutputConfiguration;
  readonly action: Action;
}

type Action = (spec: CommandSpec, args: CommandArguments, flags: GlobalFlags) => Promise<void>;
type CommandAction = (spec: CommandSpec, args: CommandArguments) => Promise<void>;

function createProgram({ specs, output, action }: ProgramParts): Command {
  const program = new Command("nexus")
    .description("Talk to a NEXUS gateway: log in, submit jobs, see the fleet.")
    .exitOverride()
    .configureOutput(output)
    .showHelpAfterError("(add --help for usage)")
    .version(NEXUS_VERSION)
    .option("--gateway <host:port>", "where the gateway is; env NEXUS_GATEWAY")
    .option("--tls", "call the gateway over TLS; env NEXUS_TLS=1")
    .option(
      "--ca-file <file>",
      "PEM file with the CA certificates of the gateway, called over TLS then; env NEXUS_CA_FILE",
    )
    .option("-o, --output <format>", "table, json or name", "table")
    .addOption(
      new Option("--timeout <seconds>", "how long one call may take")
        .default(DEFAULT_TIMEOUT_S)
        .argParser(parseTimeout),
    );
  const act: CommandAction = (spec, args) =>
    action(spec, args, program.opts<GlobalFlags & Record<string, never>>());
  for (const spec of specs) if (nounOf(spec) === undefined) addCommand(program, spec, act);
  for (const [noun, { about }] of Object.entries(NOUNS)) {
    const group = program.command(noun).description(about).exitOverride();
    if (singularOf(noun) !== noun) group.alias(singularOf(noun));
    for (const spec of specs) if (nounOf(spec) === noun) addCommand(group, spec, act);
  }
  return program;
}

function nounOf({ usage }: CommandSpec): string | undefined {
  const [first = ""] = usage.split(" ");
  return Object.hasOwn(NOUNS, first) ? first : undefined;
}

/** Adds a command to the program, or to the group of its noun. */
function addCommand(parent: Command, spec: CommandSpec, action: CommandAction): void {
  const noun = nounOf(spec);
  const usage = noun === undefined ? spec.usage : spec.usage.slice(noun.length + 1);
  const command = parent.command(usage).description(spec.about).exitOverride();
  command.addHelpText("after", `\nExample:\n  ${spec.example}`);
  for (const flag of spec.flags ?? []) {
    const option = new Option(flag.flags, flag.about);
    if (flag.many === true) option.default([]).argParser(collect);
    if (flag.default !== undefined) option.default(flag.default);
    command.addOption(option);
  }
  command.action(async (...parts: unknown[]) => {
    const positional = parts.slice(0, -2) as (string | undefined)[];
    const args = new CommandArguments(positional, command.opts());
    await action(spec, args);
  });
}

function collect(value: string, before: readonly string[]): readonly string[] {
  return [...before, value];
}

function parseTimeout(text: string): number {
  const seconds = Number(text);
  if (Number.isFinite(seconds) && seconds > 0) return seconds;
  throw usageError(`--timeout is a number of seconds, not "${text}".`);
}

interface CommandRun extends Invocation {
  readonly spec: CommandSpec;
  readonly args: CommandArguments;
  readonly flags: GlobalFlags;
}

async function runCommand({ spec, args, flags, ...invocation }: CommandRun): Promise<number> {
  const { env, terminal, signal } = invocation;
  const format = parseFormat(flags.output);
  const connection = spec.isOffline?.(args) === true ? undefined : await import("./connection.ts");
  let client: NexusClient | undefined;
  let asked: string | undefined;
  const ctx: CommandContext = {
    flags,
    format,
    env,
    terminal,
    signal,
    client: () => {
      asked = gatewayOf(flags, env);
      client ??= connection?.connect(flags, env);
      if (client === undefined) throw new Error("A command that calls nobody asks for a client.");
      return client;
    },
    reconnect: () => {
      client?.close();
      client = undefined;
    },
  };
  try {
    return await spec.run(ctx, args);
  } catch (error) {
    return report(error, { ...ctx, gateway: asked });
  } finally {
    client?.close();
  }
}

interface Failing extends Pick<CommandContext, "terminal" | "signal" | "format" | "env"> {
  /** Which gateway was asked, if one was. */
  readonly gateway?: string | undefined;
}

function report(error: unknown, { terminal, signal, format, env, gateway }: Failing): number {
  if (signal.aborted) return EXIT.interrupted;
  const known = NexusError.from(error);
  if (known === error) {
    writeError({ terminal, gateway, token: env["NEXUS_TOKEN"] }, known, format);
    return exitCodeOf(known);
  }
  if (isOfFile(error)) {
    writeError(
      { terminal },
      usageError(`The file ${error.path} is not to be had: ${error.code}.`),
      format,
    );
    return EXIT.usage;
  }
  // A fault of the program itself: its text is all there is to go by.
  const message = error instanceof Error ? error.message : String(error);
  const fault = new NexusError({ kind: "internal", reason: "UNEXPECTED", message });
  writeError({ terminal }, fault, format);
  return EXIT.unexpected;
}

/** A file that a flag named cannot be read or written. */
function isOfFile(error: unknown): error is NodeJS.ErrnoException & { readonly path: string } {
  if (!(error instanceof Error) || !("syscall" in error) || !("path" in error)) return false;
  return typeof error.path === "string" && FILE_CALLS.has(String(error.syscall));
}

const FILE_CALLS: ReadonlySet<string> = new Set([
  "open",
  "read",
  "stat",
  "write",
  "mkdir",
  "rename",
]);
