/** Starts and ends one server process. */
import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, openSync, readFileSync, renameSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { Client } from "pg";
import { devkitError } from "../devkit-error.ts";
import { LOOPBACK } from "../ports.ts";
import { childProcesses, processCommand, processIdentity } from "../process-identity.ts";
import { type ClusterPlace, postgresEnvironment } from "./cluster.ts";
import type { RunAs } from "./run-as.ts";

const READY_TIMEOUT_MS = 60_000;
const READY_POLL_MS = 15;
const CONNECT_TIMEOUT_MS = 2_000;
const FAST_STOP_TIMEOUT_MS = 20_000;
const IMMEDIATE_STOP_TIMEOUT_MS = 5_000;
const GONE_POLL_MS = 10;
const LOG_ROTATE_BYTES = 10 * 1024 * 1024;
const LOG_TAIL_CHARS = 2_000;

/** A running server process. */
export interface Postmaster {
  readonly pid: number;
  /** Resolves when the process has ended. */
  readonly exited: Promise<void>;
  /** SIGINT: ends sessions, writes a checkpoint. Falls back to SIGQUIT, then SIGKILL. */
  stop(): Promise<void>;
  /** SIGKILL to the server and all its children at one moment, as a power cut would. */
  kill(): Promise<void>;
  /** SIGSTOP to the server and all its children: nothing answers, and no connection is closed. */
  pause(): void;
  /** Lets it go on. Does nothing to a server that was not paused. */
  resume(): void;
}

/** What to start. */
export interface PostmasterOptions {
  readonly program: string;
  readonly place: ClusterPlace;
  readonly port: number;
  readonly settings: Readonly<Record<string, string>>;
  readonly runAs: RunAs | undefined;
  /** Connection string of the superuser, to ask whether the server answers. */
  readonly url: string;
}

/** Starts the server and waits until it answers a query.
 *
 * Errors: precondition/POSTGRES_START_FAILED with the last lines of its log; the process has ended by then. */
export async function startPostmaster(options: PostmasterOptions): Promise<Postmaster> {
  rotateLog(options.place.logFile);
  const logFrom = sizeOf(options.place.logFile);
  const log = openSync(options.place.logFile, "a", 0o600);
  const child = spawn(options.program, serverArguments(options), {
    ...options.runAs,
    cwd: "/",
    env: postgresEnvironment(),
    // Its own session: Ctrl-C in the terminal reaches the owner, which stops the services first.
    detached: true,
    stdio: ["ignore", log, log],
  });
  closeSync(log);
  // The server does not keep its owner's event loop alive; waiting for its end does.
  child.unref();
  let spawnError = "";
  const exited = new Promise<void>((resolve) => {
    child.once("error", (error) => {
      spawnError = error.message;
      resolve();
    });
    child.once("exit", () => resolve());
  });
  const postmaster = toPostmaster(child, exited);
  if (await answersBeforeExit(options.url, exited)) return postmaster;
  await postmaster.kill();
  const words = readFileSync(options.place.logFile, "utf8").slice(logFrom).slice(-LOG_TAIL_CHARS);
  throw devkitError(
    "POSTGRES_START_FAILED",
    `postgres did not start on port ${options.port}: ${spawnError || words.trim()}`,
  );
}

function serverArguments(options: PostmasterOptions): string[] {
  const settings: Record<string, string> = {
    listen_addresses: LOOPBACK,
    port: String(options.port),
    // TCP only: a socket file would need a short path that the server's user can write.
    unix_socket_directories: "",
    ...options.settings,
  };
  const flags = Object.entries(settings).flatMap(([name, value]) => ["-c", `${name}=${value}`]);
  return ["-D", options.place.cluster, ...flags];
}

function toPostmaster(child: ChildProcess, exited: Promise<void>): Postmaster {
  const pid = child.pid ?? 0;
  const isOver = () => child.exitCode !== null || child.signalCode !== null || pid === 0;
  const endsWithin = (ms: number) => settlesWithin(exited, ms);
  return {
    pid,
    exited,
    stop: async () => {
      if (isOver()) return;
      child.ref();
      // Paused, it would not hear.
      resumeWithChildren(pid);
      child.kill("SIGINT");
      if (await endsWithin(FAST_STOP_TIMEOUT_MS)) return;
      child.kill("SIGQUIT");
      if (await endsWithin(IMMEDIATE_STOP_TIMEOUT_MS)) return;
      killWithChildren(pid);
      await exited;
    },
    kill: async () => {
      if (isOver()) return;
      child.ref();
      const family = killWithChildren(pid);
      await exited;
      await waitUntilGone(family);
    },
    pause: () => {
      if (!isOver()) stopWithChildren(pid);
    },
    resume: () => {
      if (!isOver()) resumeWithChildren(pid);
    },
  };
}

/** The server is frozen first, so that it can neither start another child nor react to the death of one. */
function killWithChildren(pid: number): number[] {
  signal(pid, "SIGSTOP");
  const children = childProcesses(pid);
  for (const member of [pid, ...children]) signal(member, "SIGKILL");
  return children;
}

function stopWithChildren(pid: number): void {
  signal(pid, "SIGSTOP");
  for (const child of childProcesses(pid)) signal(child, "SIGSTOP");
}

function resumeWithChildren(pid: number): void {
  for (const member of [...childProcesses(pid), pid]) signal(member, "SIGCONT");
}

function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}

async function waitUntilGone(pids: readonly number[]): Promise<void> {
  const giveUpAt = performance.now() + IMMEDIATE_STOP_TIMEOUT_MS;
  while (pids.some((pid) => processIdentity(pid) !== undefined)) {
    if (performance.now() > giveUpAt) return;
    await delay(GONE_POLL_MS);
  }
}

async function answersBeforeExit(url: string, exited: Promise<void>): Promise<boolean> {
  const giveUpAt = performance.now() + READY_TIMEOUT_MS;
  const over = exited.then(() => true);
  const goesOn = () => delay(READY_POLL_MS).then(() => false);
  while (performance.now() < giveUpAt) {
    if (await answers(url)) return true;
    if (await Promise.race([over, goesOn()])) return false;
  }
  return false;
}

async function answers(url: string): Promise<boolean> {
  const client = new Client({
    connectionString: url,
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    query_timeout: CONNECT_TIMEOUT_MS,
  });
  client.on("error", () => undefined);
  try {
    await client.connect();
    await client.query("SELECT 1");
    return true;
  } catch {
    // Not up yet; the caller bounds how often we ask.
    return false;
  } finally {
    await client.end().catch(() => undefined);
  }
}

/** Ends a server that its dead owner left running in this data directory, after checking that it is that server.
 *
 * A pid file whose process is something else is stale after a crash or reboot; Postgres would refuse to start beside it. */
export async function stopLeftover(place: ClusterPlace): Promise<void> {
  const pidFile = join(place.cluster, "postmaster.pid");
  const pid = pidOfServer(place);
  if (pid === undefined) {
    rmSync(pidFile, { force: true });
    return;
  }
  signal(pid, "SIGINT");
  if (await goneWithin(pid, FAST_STOP_TIMEOUT_MS)) return;
  await waitUntilGone([pid, ...killWithChildren(pid)]);
}

/** Returns the pid of the server that runs on this cluster, or undefined. */
export function pidOfServer(place: ClusterPlace): number | undefined {
  const pid = Number(firstLine(join(place.cluster, "postmaster.pid")));
  if (!Number.isSafeInteger(pid) || pid <= 1) return undefined;
  const command = processCommand(pid) ?? "";
  return command.includes(`-D ${place.cluster} `) ? pid : undefined;
}

async function goneWithin(pid: number, ms: number): Promise<boolean> {
  const giveUpAt = performance.now() + ms;
  while (processIdentity(pid) !== undefined) {
    if (performance.now() > giveUpAt) return false;
    await delay(GONE_POLL_MS);
  }
  return true;
}

function firstLine(file: string): string {
  try {
    return readFileSync(file, "utf8").split("\n")[0] ?? "";
  } catch {
    // No pid file: the server was stopped in good order.
    return "";
  }
}

async function settlesWithin(promise: Promise<void>, ms: number): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<false>((resolve) => {
    timer = setTimeout(() => resolve(false), ms);
  });
  const settled = await Promise.race([promise.then(() => true as const), late]);
  clearTimeout(timer);
  return settled;
}

function delay(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

function rotateLog(file: string): void {
  if (sizeOf(file) > LOG_ROTATE_BYTES) renameSync(file, `${file}.1`);
}

function sizeOf(file: string): number {
  return statSync(file, { throwIfNoEntry: false })?.size ?? 0;
}
