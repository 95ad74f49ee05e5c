/** The log of a stack: one ProcessLog per service, and the supervisor's own notices. */
import { appendFileSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { PassThrough, Writable } from "node:stream";
import { createFileLog, createPrefixLog, type ProcessLog } from "./process-log.ts";

const FOLDER = "logs";
const SUPERVISOR = "supervisor";

/** Where logs go: standard output with the service's name in front, files, or nowhere. */
export type StackLogMode = "prefix" | "file" | "quiet";

/** Opens the logs of one stack. */
export interface StackLog {
  of(name: string): ProcessLog;
  /** Logs something about the stack itself and passes it on. */
  readonly notice: (text: string) => void;
}

/** Creates the log of a stack. */
export function openStackLog(
  mode: StackLogMode,
  dataDir: string,
  onNotice: ((notice: string) => void) | undefined,
): StackLog {
  if (mode === "file") return openFiles(join(dataDir, FOLDER), onNotice);
  const out = mode === "prefix" ? sharedStandardOutput() : nowhere();
  const own = createPrefixLog(out, SUPERVISOR);
  const input = new PassThrough();
  own.attach(input, null);
  return {
    of: (name) => createPrefixLog(out, name),
    notice: (text) => {
      input.write(`${text}\n`);
      onNotice?.(text);
    },
  };
}

function openFiles(folder: string, onNotice: ((notice: string) => void) | undefined): StackLog {
  mkdirSync(folder, { recursive: true });
  return {
    of: (name) => createFileLog(folder, name),
    notice: (text) => {
      const line = `${new Date().toISOString()} ${text}\n`;
      appendFileSync(join(folder, `${SUPERVISOR}.log`), line, { mode: 0o600 });
      onNotice?.(text);
    },
  };
}

/** Twelve pipes share it, so the listeners that each adds while it waits go to a stream of our own. */
function sharedStandardOutput(): Writable {
  const out = new PassThrough();
  out.setMaxListeners(0);
  out.pipe(process.stdout);
  return out;
}

function nowhere(): Writable {
  return new Writable({ write: (_chunk, _encoding, done) => done() });
}
