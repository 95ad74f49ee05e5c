/** A server program of this machine as a child: found on the PATH, started on a free loopback port, ended with its owner. */
import { type ChildProcess, spawn } from "node:child_process";
import { accessSync, constants } from "node:fs";
import { connect } from "node:net";
import { delimiter, join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { devkitError } from "./devkit-error.ts";
import { freePort, isPortFree, LOOPBACK } from "./ports.ts";
import type { ChildGuard } from "./stack/child-guard.ts";

const PORT_ATTEMPTS_MAX = 5;
const READY_TIMEOUT_MS = 20_000;
const READY_POLL_MS = 15;
const GREETING_TIMEOUT_MS = 2_000;
const STOP_TIMEOUT_MS = 10_000;
const OUTPUT_TAIL_CHARS = 2_000;

/** How to start one. */
export interface LocalServerOptions {
  readonly program: string;
  readonly args: readonly string[];
  /** Its working folder; exists. */
  readonly cwd: string;
  /** What it reads from standard input: there a secret stands in no list of processes and in no file. @default nothing */
  readonly input?: string;
  readonly port: number;
  readonly guard: ChildGuard;
  /** The reason of the error when it does not start. */
  readonly failure: "REDIS_START_FAILED" | "NATS_START_FAILED";
  /** Asks whether the server that answers on this port is this one. */
  readonly answers: (port: number) => Promise<boolean>;
}

/** A server that runs, or ran. */
export interface LocalServer {
  readonly port: number;
  readonly child: ChildProcess;
  readonly exited: Promise<void>;
}

/** Finds the first of these programs on a PATH; undefined when no folder of it has one. */
export function findOnPath(
  programs: readonly string[],
  path: string = process.env["PATH"] ?? "",
): string | undefined {
  const folders = path.split(delimiter).filter((folder) => folder !== "");
  return programs
    .flatMap((program) => folders.map((folder) => join(folder, program)))
    .find(isExecutable);
}

/** Starts on a free port, and on another one when somebody took it between the choice and the bind. */
export async function startOnFreePort(
  start: (port: number) => Promise<LocalServer>,
): Promise<LocalServer> {
  for (let attempt = 1; ; attempt += 1) {
    const port = await freePort();
    try {
      return await start(port);
    } catch (error) {
      // Any other failure than a taken port is final.
      if (attempt >= PORT_ATTEMPTS_MAX || (await isPortFree(port))) throw error;
    }
  }
}

/** Starts a server and resolves when it answers.
 *
 * Errors: the failure that was named, with the program's last words. Nothing runs then. */
export async function startLocalServer(options: LocalServerOptions): Promise<LocalServer> {
  const { program, args, cwd, input = "", port, guard, answers } = options;
  // Its own session: Ctrl-C in the terminal reaches the owner, which stops it when nobody needs it any more.
  const child = spawn(program, args, { cwd, detached: true, stdio: "pipe" });
  let output = "";
  const collect = (chunk: Buffer) => {
    output = (output + chunk.toString("utf8")).slice(-OUTPUT_TAIL_CHARS);
  };
  child.stdout.on("data", collect);
  child.stderr.on("data", collect);
  const { pid } = child;
  if (pid !== undefined) guard.watch(pid);
  const exited = new Promise<void>((ended) => {
    child.once("error", (error) => {
      output += error.message;
      ended();
    });
    child.once("close", () => ended());
  });
  void exited.then(() => {
    if (pid !== undefined) guard.forget(pid);
  });
  // A program that did not start closes its end first.
  child.stdin.on("error", () => undefined);
  child.stdin.end(input);
  const server = { port, child, exited };
  if (await answersBeforeExit(server, answers)) return server;
  await endLocalServer(server, "SIGKILL");
  throw devkitError(options.failure, `${program} did not start on port ${port}: ${output.trim()}`);
}

/** Ends a server, politely or not; resolves when it is gone. */
export async function endLocalServer(
  server: LocalServer,
  signal: "SIGTERM" | "SIGKILL",
): Promise<void> {
  const { child, exited } = server;
  if (isOver(child)) return;
  const force = setTimeout(() => child.kill("SIGKILL"), STOP_TIMEOUT_MS);
  child.kill(signal);
  await exited;
  clearTimeout(force);
}

/** Says whether a child has ended, or never began. */
export function isOver(child: ChildProcess): boolean {
  return child.pid === undefined || child.exitCode !== null || child.signalCode !== null;
}

/** Sends a greeting to a port and says what `judge` made of the answer; undefined while it waits for more of it. False for whoever
 * does not answer. */
export function greet(
  port: number,
  greeting: string,
  judge: (text: string) => boolean | undefined,
): Promise<boolean> {
  return new Promise((answer) => {
    const socket = connect({ port, host: LOOPBACK, timeout: GREETING_TIMEOUT_MS });
    const end = (ready: boolean) => {
      socket.destroy();
      answer(ready);
    };
    let text = "";
    socket.once("connect", () => socket.write(greeting));
    socket.once("error", () => end(false));
    socket.once("timeout", () => end(false));
    socket.once("close", () => end(false));
    socket.on("data", (chunk: Buffer) => {
      text += chunk.toString("utf8");
      const verdict = judge(text);
      if (verdict !== undefined) end(verdict);
    });
  });
}

async function answersBeforeExit(
  server: LocalServer,
  answers: (port: number) => Promise<boolean>,
): Promise<boolean> {
  const giveUpAtMs = performance.now() + READY_TIMEOUT_MS;
  while (!isOver(server.child) && performance.now() < giveUpAtMs) {
    if (await answers(server.port)) return true;
    await Promise.race([wait(READY_POLL_MS), server.exited]);
  }
  return false;
}

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    // Not here: the next folder may have it.
    return false;
  }
}
