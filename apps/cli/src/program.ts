import type { NexusClient } from "@nexus/sdk";
import { NEXUS_VERSION, NexusError } from "@nexus/shared";
import { Command, CommanderError, Option } from "commander";
import { CommandArguments, type CommandContext, type CommandSpec } from "./command.ts";
import { COMMANDS, NOUNS } from "./command-table.ts";
import { EXIT, exitCodeOf } from "./exit-codes.ts";
import { type OutputFormat, parseFormat, writeError } from "./output.ts";
import { connect, type GlobalFlags } from "./session.ts";
import { usageError } from "./usage-error.ts";

const DEFAULT_TIMEOUT_S = 30;

/** Runs one command line and returns the exit code. Nothing here ends the process. */
export async function run(
  argv: readonly string[],
  env: NodeJS.ProcessEnv,
  signal: AbortSignal,
): Promise<number> {
  let exitCode: number = EXIT.ok;
  const program = createProgram(async (spec, args, flags) => {
    exitCode = await runCommand({ spec, args, flags, env, signal });
  });
  try {
    await program.parseAsync([...argv], { from: "user" });
    return exitCode;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.ok : EXIT.usage;
    return report(error, "table", signal);
  }
}

type Action = (spec: CommandSpec, args: CommandArguments, flags: GlobalFlags) => Promise<void>;

function createProgram(action: Action): Command {
  const program = new Command("nexus")
    .description("Talk to a NEXUS gateway: log in, submit jobs, see the fleet.")
    .exitOverride()
    .showHelpAfterError("(add --help for usage)")
    .version(NEXUS_VERSION)
    .option("--gateway <host:port>", "where the gateway is; env NEXUS_GATEWAY")
    .option("--tls", "call the gateway over TLS; env NEXUS_TLS=1")
    .option(
      "--ca-file <file>",
      "PEM file with the CA certificates of the gateway, called over TLS then; env NEXUS_CA_FILE",
    )
    .option("--namespace <name>", "the tenant to log in to")
    .option("-o, --output <format>", "table, json or name", "table")
    .addOption(
      new Option("--timeout <seconds>", "how long one call may take")
        .default(DEFAULT_TIMEOUT_S)
        .argParser(parseTimeout),
    );
  const groups = new Map<string, Command>();
  for (const spec of COMMANDS) addCommand(program, groups, spec, action);
  return program;
}

function addCommand(
  program: Command,
  groups: Map<string, Command>,
  spec: CommandSpec,
  action: Action,
): void {
  const [first = "", ...rest] = spec.usage.split(" ");
  const about = NOUNS[first];
  const parent = about === undefined ? program : groupOf(program, groups, first, about);
  const usage = about === undefined ? spec.usage : rest.join(" ");
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
    await action(spec, args, program.opts<GlobalFlags & Record<string, never>>());
  });
}

function groupOf(
  program: Command,
  groups: Map<string, Command>,
  noun: string,
  about: string,
): Command {
  const known = groups.get(noun);
  if (known !== undefined) return known;
  const group = program.command(noun).description(about).exitOverride();
  // `nexus job get` should not fail for want of an s.
  const singular = noun.replace(/s$/, "");
  if (singular !== noun) group.alias(singular);
  groups.set(noun, group);
  return group;
}

function collect(value: string, before: readonly string[]): readonly string[] {
  return [...before, value];
}

function parseTimeout(text: string): number {
  const seconds = Number(text);
  if (Number.isFinite(seconds) && seconds > 0) return seconds;
  throw usageError(`--timeout is a number of seconds, not "${text}".`);
}

interface Invocation {
  readonly spec: CommandSpec;
  readonly args: CommandArguments;
  readonly flags: GlobalFlags;
  readonly env: NodeJS.ProcessEnv;
  readonly signal: AbortSignal;
}

async function runCommand({ spec, args, flags, env, signal }: Invocation): Promise<number> {
  const format = parseFormat(flags.output);
  let client: NexusClient | undefined;
  const ctx: CommandContext = {
    flags,
    format,
    env,
    signal,
    client: () => {
      client ??= connect(flags, env);
      return client;
    },
  };
  try {
    return await spec.run(ctx, args);
  } catch (error) {
    return report(error, format, signal);
  } finally {
    client?.close();
  }
}

function report(error: unknown, format: OutputFormat, signal: AbortSignal): number {
  if (signal.aborted) return EXIT.interrupted;
  const known = NexusError.from(error);
  if (known === error) {
    writeError(known, format);
    return exitCodeOf(known.kind);
  }
  // A fault of the program itself: its text is all there is to go by.
  const message = error instanceof Error ? error.message : String(error);
  writeError(new NexusError({ kind: "internal", reason: "UNEXPECTED", message }), format);
  return EXIT.unexpected;
}
