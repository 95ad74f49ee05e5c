/** How messages and what is in them are shown to people and programs. */
import { type DescMessage, type MessageShape, toJson } from "@bufbuild/protobuf";
import { type Duration, durationMs, type Timestamp, timestampDate } from "@bufbuild/protobuf/wkt";
import Table from "cli-table3";
import { type Writing, writeLine } from "./output.ts";

/** Writes a message as protobuf JSON. */
export function writeJson<D extends DescMessage>(
  out: Writing,
  schema: D,
  message: MessageShape<D>,
): void {
  writeLine(out, JSON.stringify(toJson(schema, message), null, 2));
}

/** Writes a message as protobuf JSON on one line, for commands that follow something. */
export function writeJsonLine<D extends DescMessage>(
  out: Writing,
  schema: D,
  message: MessageShape<D>,
): void {
  writeLine(out, JSON.stringify(toJson(schema, message)));
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
