import type { NexusClient } from "@nexus/sdk";
import type { OutputFormat } from "./output.ts";
import type { GlobalFlags } from "./session.ts";
import type { Terminal } from "./terminal.ts";
import { usageError } from "./usage-error.ts";

/** What a command gets to work with. */
export interface CommandContext {
  readonly flags: GlobalFlags;
  readonly format: OutputFormat;
  readonly env: NodeJS.ProcessEnv;
  readonly terminal: Terminal;
  /** Connects as the logged-in principal; closed after the command. */
  client(): NexusClient;
  /** Drops the connection: the next call to `client` connects anew, with the tokens that the login has by then. Another command may have
   * renewed them meanwhile, and a refresh token that is spent twice ends the login. */
  reconnect(): void;
  /** Aborts on Ctrl-C. */
  readonly signal: AbortSignal;
}

/** A flag of one command. */
export interface FlagSpec {
  /** In commander's notation, e.g. `--label <key=value>`. */
  readonly flags: string;
  readonly about: string;
  /** May be given more than once; the values come as a list. */
  readonly many?: boolean;
  readonly default?: string;
}

/** One command of the table that the whole CLI is made from. */
export interface CommandSpec {
  /** Noun and verb with arguments in commander's notation, e.g. `jobs get <job>`. */
  readonly usage: string;
  readonly about: string;
  /** One line that can be typed as it is. */
  readonly example: string;
  readonly flags?: readonly FlagSpec[];
  /** True when a run with these arguments does not call the gateway: what calls it is not loaded for it then. */
  isOffline?(args: CommandArguments): boolean;
  /** Returns the exit code; throws a NexusError otherwise. */
  run(ctx: CommandContext, args: CommandArguments): Promise<number>;
}

/** Arguments and flags as commander parsed them. */
export class CommandArguments {
  readonly #positional: readonly (string | undefined)[];
  readonly #flags: Readonly<Record<string, unknown>>;

  constructor(
    positional: readonly (string | undefined)[],
    flags: Readonly<Record<string, unknown>>,
  ) {
    this.#positional = positional;
    this.#flags = flags;
  }

  /** The argument at this place; empty when it was optional and left out. */
  at(index: number): string {
    return this.#positional[index] ?? "";
  }

  text(flag: string): string | undefined {
    const value = this.#flags[flag];
    return typeof value === "string" ? value : undefined;
  }

  texts(flag: string): readonly string[] {
    const value = this.#flags[flag];
    return Array.isArray(value) ? (value as string[]) : [];
  }

  isSet(flag: string): boolean {
    return this.#flags[flag] === true;
  }

  /** `key=value` flags as a record.
   *
   * Errors: USAGE when one is no pair. */
  pairs(flag: string): Record<string, string> {
    return Object.fromEntries(
      this.texts(flag).map((pair) => {
        const at = pair.indexOf("=");
        if (at < 1) throw usageError(`--${flag} is key=value, not "${pair}".`);
        return [pair.slice(0, at), pair.slice(at + 1)];
      }),
    );
  }
}
