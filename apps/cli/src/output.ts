import { type DescMessage, type MessageShape, toJson } from "@bufbuild/protobuf";
import { type Duration, durationMs, type Timestamp, timestampDate } from "@bufbuild/protobuf/wkt";
import type { NexusError } from "@nexus/shared";
import Table from "cli-table3";
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
interface Writing {
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

/** Writes a message as protobuf JSON. */
export function writeJson<D extends DescMessage>(
  out: Writing,
  schema: D,
  message: MessageShape<D>,
): void {
  writeLine(out, JSON.stringify(toJson(schema, message), null, 2));
}

/** Writes rows in aligned columns without a frame: easy to read, easy to cut. */
export function writeTable(
  out: Writing,
  head: readonly string[],
  rows: readonly (readonly string[])[],
): void {
  const table = new Table({
    head: head.map((title) => title.toUpperCase()),
    style: { head: [], border: [], "padding-left": 0, "padding-right": 2 },
    chars: NO_FRAME,
  });
  for (const row of rows) table.push([...row]);
  const lines = table.toString().split("\n");
  writeLine(out, lines.map((line) => line.trimEnd()).join("\n"));
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

/** A moment as people read it; `-` when there is none. */
export function showTime(time: Timestamp | undefined): string {
  return time === undefined
    ? "-"
    : timestampDate(time)
        .toISOString()
        .replace(/\.\d+Z$/, "Z");
}

/** A duration with a unit that fits; `-` when there is none. */
export function showDuration(duration: Duration | undefined): string {
  if (duration === undefined) return "-";
  const ms = durationMs(duration);
  return ms < 1_000 ? `${ms.toFixed(0)} ms` : `${(ms / 1_000).toFixed(1)} s`;
}

/** Protobuf enum names without their prefix, in lower case: `JOB_STATE_RUNNING` is `running`. */
export function showEnum(names: Readonly<Record<number, string>>, value: number): string {
  return (names[value] ?? String(value)).toLowerCase();
}

const NO_FRAME = Object.fromEntries(
  [
    "top",
    "top-mid",
    "top-left",
    "top-right",
    "bottom",
    "bottom-mid",
    "bottom-left",
    "bottom-right",
    "left",
    "left-mid",
    "mid",
    "mid-mid",
    "right",
    "right-mid",
    "middle",
  ].map((part) => [part, ""]),
);
