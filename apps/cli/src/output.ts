/** How results and errors are written, for every command. What only answers of services need is in show.ts, which loads all that reads messages. */
import { NexusError } from "@nexus/shared";
import type { Terminal } from "./terminal.ts";
import { usageError } from "./usage-error.ts";

/** How results are written to standard output. */
export type OutputFormat = "table" | "json" | "name";

/** Checks the value of --output. */
export function parseFormat(text: string): OutputFormat {
  if (text === "table" || text === "json" || text === "name") return text;
  throw usageError(`--output is one of table, json, name, not "${text}".`);
}

/** Where output goes: a command's context has it. */
export interface Writing {
  readonly terminal: Pick<Terminal, "stdout" | "stderr">;
}

/** Writes a line of data. */
export function writeLine({ terminal }: Writing, text: string): void {
  terminal.stdout.write(`${text}\n`);
}

/** Writes a part of a task's output as it is. */
export function writeBytes({ terminal }: Writing, data: Uint8Array): void {
  terminal.stdout.write(data);
}

/** Where and as whom a call was made that went wrong. */
export interface Caller extends Writing {
  /** Which gateway was asked, if one was. */
  readonly gateway?: string | undefined;
  /** The token that the environment brings, which goes before a login's. */
  readonly token?: string | undefined;
}

/** Writes what went wrong to standard error: for people, or as one line of JSON under `-o json`. */
export function writeError(caller: Caller, error: NexusError, format: OutputFormat): void {
  const { terminal } = caller;
  const { kind, reason, message, details } = error;
  const hint = hintOf(error, caller);
  const cause = kind === "unavailable" ? NexusError.rootCause(error) : undefined;
  if (format === "json") {
    const body = { code: kind, reason, message, cause, hint, details };
    terminal.stderr.write(`${JSON.stringify({ error: body })}\n`);
    return;
  }
  terminal.stderr.write(`error: ${message} (${reason})\n`);
  if (cause !== undefined) terminal.stderr.write(`cause: ${cause}\n`);
  for (const { field, description } of details.fieldViolations ?? []) {
    terminal.stderr.write(`  ${field}: ${description}\n`);
  }
  if (hint !== undefined) terminal.stderr.write(`hint: ${hint}\n`);
}

/** What to do next, by reason. */
const HINTS: Readonly<Record<string, string>> = {
  CREDENTIALS_INVALID:
    "After failed tries, five by default, a name is locked from here for 15 minutes and more, for the right password too. An administrator opens it with `nexus principals unlock`.",
  MESSAGE_TOO_LARGE:
    "`nexus payloads upload` stores a large body, up to 64 MiB, and a job of very many tasks can be submitted as several.",
  PRINCIPAL_EXISTS:
    "`nexus principals rotate-secret` gives an agent that is there a new secret, `nexus principals password` a user a new password.",
  SCOPE_MISSING:
    "`nexus whoami` shows what the token allows; whoever may write roles gives more with `nexus roles put` and `nexus roles assign`.",
  VAULT_SEALED:
    "`nexus vault unseal` opens vault, on its machine, at its operator socket (docs/tls.md).",
};

function hintOf(error: NexusError, { gateway, token = "" }: Caller): string | undefined {
  if (error.reason.startsWith("TOKEN_")) {
    if (token === "") return "Run `nexus login`.";
    return "NEXUS_TOKEN is set and goes before a login: set a new one, or unset it.";
  }
  const known = HINTS[error.reason];
  if (known !== undefined) return known;
  if (error.kind === "unavailable") {
    const where = gateway === undefined ? "" : ` at ${gateway}`;
    return `Is NEXUS running${where}? \`npm start\` starts it.`;
  }
  const { retryAfterMs } = error.details;
  return retryAfterMs === undefined ? undefined : `Try again in ${Math.ceil(retryAfterMs)} ms.`;
}
