import { KiB } from "@nexus/shared";
import type { CommandArguments, CommandContext, FlagSpec } from "./command.ts";
import { askHidden, readStandardInput, withoutNewline } from "./input.ts";
import { usageError } from "./usage-error.ts";

const PASSWORD_BYTES_MAX = 4 * KiB;

/** For commands that need a password where no terminal is. */
export const PASSWORD_STDIN_FLAG: FlagSpec = {
  flags: "--password-stdin",
  about: "read the password from standard input",
};

/** Which password is wanted. */
export interface PasswordOptions {
  /** What a person is asked with. */
  readonly prompt: string;
  /** The variable of the environment that goes before the terminal. */
  readonly variable: string;
}

/** Reads a password from standard input with --password-stdin, else from its variable, else from the terminal, unseen.
 *
 * What is said on the command line goes first: a variable that another command left set must not stand for what is piped.
 * Errors: USAGE when there is none of them. */
export async function readPassword(
  ctx: CommandContext,
  args: CommandArguments,
  { prompt, variable }: PasswordOptions,
): Promise<string> {
  if (args.isSet("passwordStdin")) {
    const what = { what: "the password", maxBytes: PASSWORD_BYTES_MAX };
    return withoutNewline(await readStandardInput(ctx, what)).toString();
  }
  const given = ctx.env[variable];
  if (given !== undefined && given !== "") return given;
  if (ctx.terminal.stdin.isTTY) return askHidden(ctx, prompt);
  throw usageError(`There is no terminal to ask on: use --password-stdin or ${variable}.`);
}
