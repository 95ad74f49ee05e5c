/** Where the output of a stack's processes goes, and how its last lines are had when one fails. */
import { closeSync, mkdirSync, openSync, readFileSync, renameSync, statSync } from "node:fs";
import { join } from "node:path";
import type { Readable, Writable } from "node:stream";
import { formatLogLine } from "./log-line.ts";

const TAIL_LINES = 20;
const LINE_CHARS_MAX = 16_384;
const ROTATE_BYTES = 10 * 1024 * 1024;

/** The output of one process over all its restarts. */
export interface ProcessLog {
  /** What to give to spawn for standard output and standard error. Call once per start. */
  open(): "pipe" | number;
  /** Connects a started process, when open() said pipe. */
  attach(stdout: Readable | null, stderr: Readable | null): void;
  /** Lets go of what open() opened, once the process has it. */
  started(): void;
  /** The last lines written, at most 20. */
  tail(): string;
}

/** Writes to `<folder>/<name>.log`, straight from the process: the supervisor is not in the way. */
export function createFileLog(folder: string, name: string): ProcessLog {
  mkdirSync(folder, { recursive: true });
  const file = join(folder, `${name}.log`);
  if ((statSync(file, { throwIfNoEntry: false })?.size ?? 0) > ROTATE_BYTES) {
    renameSync(file, `${file}.1`);
  }
  let descriptor = -1;
  return {
    open: () => {
      descriptor = openSync(file, "a", 0o600);
      return descriptor;
    },
    attach: () => undefined,
    started: () => closeSync(descriptor),
    tail: () => readFileSync(file, "utf8").trimEnd().split("\n").slice(-TAIL_LINES).join("\n"),
  };
}

/** Writes to one stream for all processes, each line with the name of its process in front. */
export function createPrefixLog(out: Writable, name: string): ProcessLog {
  const last: string[] = [];
  const keep = (line: string) => {
    last.push(line);
    if (last.length > TAIL_LINES) last.shift();
    return out.write(`${formatLogLine(name, line)}\n`);
  };
  return {
    open: () => "pipe",
    attach: (stdout, stderr) => {
      for (const stream of [stdout, stderr]) {
        if (stream !== null) forwardLines(stream, out, keep);
      }
    },
    started: () => undefined,
    tail: () => last.join("\n"),
  };
}

/** A terminal that does not take more (Ctrl-S) holds the process up instead of filling our memory. */
function forwardLines(from: Readable, out: Writable, keep: (line: string) => boolean): void {
  let rest = "";
  from.setEncoding("utf8");
  from.on("data", (text: string) => {
    const lines = (rest + text).split("\n");
    rest = lines.pop() ?? "";
    if (rest.length > LINE_CHARS_MAX) {
      lines.push(rest);
      rest = "";
    }
    const room = lines.map(keep).at(-1) ?? true;
    if (room) return;
    from.pause();
    out.once("drain", () => from.resume());
  });
  from.on("end", () => {
    if (rest !== "") keep(rest);
  });
  // The other end is a process that may be killed at any moment.
  from.on("error", () => undefined);
}
