/** How results and errors are written, for every command. What only answers of services need is in show.ts, which loads all that reads messages. */
import type { NexusError } from "@nexus/shared";
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

/** Writes what went wrong to standard error: for people, or as one line of JSON under `-o json`. */
export function writeError(
  { terminal, gateway }: Writing & { readonly gateway?: string | undefined },
  error: NexusError,
  format: OutputFormat,
): void {
  const { kind, reason, message, details } = error;
  const hint = hintOf(error, gateway);
  if (format === "json") {
    const body = { code: kind, reason, message, hint, details };
    terminal.stderr.write(`${JSON.stringify({ error: body })}\n`);
    return;
  }
  terminal.stderr.write(`error: ${message} (${reason})\n`);
  for (const { field, description } of details.fieldViolations ?? []) {
    terminal.stderr.write(`  ${field}: ${description}\n`);
  }
  if (hint !== undefined) terminal.stderr.write(`hint: ${hint}\n`);
}

function hintOf(error: NexusError, gateway: string | undefined): string | undefined {
  if (error.reason.startsWith("TOKEN_")) return "Run `nexus login`.";
  if (error.kind === "unavailable") {
    const where = gateway === undefined ? "" : ` at ${gateway}`;
    return `Is NEXUS running${where}? \`npm start\` starts it.`;
  }
  const { retryAfterMs } = error.details;
  return retryAfterMs === undefined ? undefined : `Try again in ${Math.ceil(retryAfterMs)} ms.`;
}
