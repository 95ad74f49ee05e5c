/** Programs of this repository, run as a user would. */
import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";

/** The repository. */
export const ROOT = join(import.meta.dirname, "../..");

const TIMEOUT_MS = 60_000;
const run = promisify(execFile);

/** How a program ended; its code is -1 when a signal ended it. */
export interface Outcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** What a program is given besides its arguments. */
export interface Given {
  readonly env?: Readonly<Record<string, string>>;
  /** Its standard input. @default empty */
  readonly input?: string;
}

/** Runs a program to its end. */
export async function command(
  file: string,
  args: readonly string[],
  { env = {}, input = "" }: Given = {},
): Promise<Outcome> {
  try {
    const options = { cwd: ROOT, env: { ...process.env, ...env }, timeout: TIMEOUT_MS };
    const running = run(file, [...args], options);
    // It may end without reading, and the pipe with it.
    running.child.stdin?.on("error", () => undefined).end(input);
    const { stdout, stderr } = await running;
    return { code: 0, stdout, stderr };
  } catch (error) {
    const { code, stdout, stderr } = error as Outcome;
    return { code: typeof code === "number" ? code : -1, stdout, stderr };
  }
}
