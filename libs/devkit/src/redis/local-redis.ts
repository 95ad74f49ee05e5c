/** A Redis of this machine's own program, for development and tests. Never used for production.
 *
 * No npm package carries a Redis, so a `redis-server` or `valkey-server` must be on the PATH. */
import { type ChildProcess, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { accessSync, constants, mkdirSync } from "node:fs";
import { connect } from "node:net";
import { delimiter, join, resolve } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { devkitError } from "../devkit-error.ts";
import { freePort, isPortFree, LOOPBACK } from "../ports.ts";
import { type ChildGuard, startChildGuard } from "../stack/child-guard.ts";

/** Programs that speak the protocol and take the same configuration, in the order in which they are looked for. */
const PROGRAMS = ["redis-server", "valkey-server"];
const PORT_ATTEMPTS_MAX = 5;
const PASSWORD_BYTES = 24;
const READY_TIMEOUT_MS = 20_000;
const READY_POLL_MS = 15;
const PING_TIMEOUT_MS = 2_000;
const STOP_TIMEOUT_MS = 10_000;
const OUTPUT_TAIL_CHARS = 2_000;

/** What a crash of the server may lose: everything, the last second, or nothing that was acknowledged. */
export type RedisDurability = "none" | "everysec" | "always";

/** How to start. */
export interface LocalRedisOptions {
  /** Holds the append-only files; made when missing, kept between starts. */
  readonly dataDir: string;
  /** Default: a free one. */
  readonly port?: number;
  /** `appendonly` and `appendfsync`. @default "none" */
  readonly durability?: RedisDurability;
  /** The server's program. @default what findRedisServer() finds */
  readonly program?: string;
}

/** A running server. */
export interface LocalRedis {
  /** Connection string with the password, which is a new one for each startLocalRedis. */
  readonly url: string;
  readonly port: number;
  /** 0 while it is down. */
  readonly pid: number;
  /** Stops in good order; what is durable is on disk then. Safe to call twice. */
  stop(): Promise<void>;
  /** Kills the server as a crash would; restart() brings it back. */
  kill(): Promise<void>;
  /** Stops, if it runs, and starts again on the same port with the same password. */
  restart(): Promise<void>;
}

/** Finds the program of a Redis on the PATH; undefined when this machine has none. */
export function findRedisServer(path: string = process.env["PATH"] ?? ""): string | undefined {
  const folders = path.split(delimiter).filter((folder) => folder !== "");
  return PROGRAMS.flatMap((program) => folders.map((folder) => join(folder, program))).find(
    isExecutable,
  );
}

/** Starts a server on loopback, behind a password, and resolves when it answers.
 *
 * When this process dies, however it dies, the server is stopped.
 * Errors: precondition/REDIS_MISSING when the PATH has no program; PORT_IN_USE; REDIS_START_FAILED with its last words. */
export async function startLocalRedis(options: LocalRedisOptions): Promise<LocalRedis> {
  const program = options.program ?? findRedisServer();
  if (program === undefined) {
    const names = PROGRAMS.join(" or ");
    throw devkitError("REDIS_MISSING", `there is no ${names} on the PATH: install one of them`);
  }
  const dataDir = resolve(options.dataDir);
  mkdirSync(dataDir, { recursive: true, mode: 0o700 });
  const password = randomBytes(PASSWORD_BYTES).toString("base64url");
  const durability = options.durability ?? "none";
  const guard = startChildGuard();
  const start = (port: number) =>
    startServer({ program, dataDir, durability, password, port, guard });
  try {
    return toLocalRedis(await startOnPort(options.port, start), { password, guard, start });
  } catch (error) {
    await guard.release();
    throw error;
  }
}

interface Server {
  readonly port: number;
  readonly child: ChildProcess;
  readonly exited: Promise<void>;
}

interface Held {
  readonly password: string;
  readonly guard: ChildGuard;
  readonly start: (port: number) => Promise<Server>;
}

function toLocalRedis(first: Server, { password, guard, start }: Held): LocalRedis {
  const { port } = first;
  let server = first;
  let stopping: Promise<void> | undefined;
  return {
    url: `redis://:${password}@${LOOPBACK}:${port}`,
    port,
    get pid() {
      return isOver(server.child) ? 0 : (server.child.pid ?? 0);
    },
    stop: () => {
      stopping ??= endServer(server, "SIGTERM").then(() => guard.release());
      return stopping;
    },
    kill: () => endServer(server, "SIGKILL"),
    restart: async () => {
      await endServer(server, "SIGTERM");
      server = await start(port);
    },
  };
}

async function startOnPort(
  wanted: number | undefined,
  start: (port: number) => Promise<Server>,
): Promise<Server> {
  if (wanted !== undefined) {
    if (await isPortFree(wanted)) return start(wanted);
    throw devkitError("PORT_IN_USE", `port ${wanted}, for Redis, is in use by another process`);
  }
  for (let attempt = 1; ; attempt += 1) {
    const port = await freePort();
    try {
      return await start(port);
    } catch (error) {
      // Someone else may have taken the port between the choice and the bind; any other failure is final.
      if (attempt >= PORT_ATTEMPTS_MAX || (await isPortFree(port))) throw error;
    }
  }
}

interface ServerStart {
  readonly program: string;
  readonly dataDir: string;
  readonly durability: RedisDurability;
  readonly password: string;
  readonly port: number;
  readonly guard: ChildGuard;
}

async function startServer(options: ServerStart): Promise<Server> {
  const { program, dataDir, password, port, guard } = options;
  // Its own session: Ctrl-C in the terminal reaches the owner, which stops it when nobody needs it any more.
  const child = spawn(program, ["-"], { cwd: dataDir, detached: true, stdio: "pipe" });
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
  child.stdin.end(configurationOf(options));
  const server = { port, child, exited };
  if (await answersBeforeExit(server, password)) return server;
  await endServer(server, "SIGKILL");
  throw devkitError(
    "REDIS_START_FAILED",
    `${program} did not start on port ${port}: ${output.trim()}`,
  );
}

/** Given on standard input, so that the password stands in no list of processes and in no file. */
function configurationOf({ dataDir, durability, password, port }: ServerStart): string {
  return [
    `bind ${LOOPBACK}`,
    `port ${port}`,
    `requirepass ${password}`,
    `dir ${JSON.stringify(dataDir)}`,
    "daemonize no",
    // No snapshots: what is to be kept is in the append-only file.
    'save ""',
    ...(durability === "none"
      ? ["appendonly no"]
      : ["appendonly yes", `appendfsync ${durability}`]),
    "",
  ].join("\n");
}

async function answersBeforeExit(server: Server, password: string): Promise<boolean> {
  const giveUpAtMs = performance.now() + READY_TIMEOUT_MS;
  while (!isOver(server.child) && performance.now() < giveUpAtMs) {
    if (await answersPing(server.port, password)) return true;
    await Promise.race([wait(READY_POLL_MS), server.exited]);
  }
  return false;
}

/** Says whether a server with this password answers: another one on the port does not know it. */
function answersPing(port: number, password: string): Promise<boolean> {
  return new Promise((answer) => {
    const socket = connect({ port, host: LOOPBACK, timeout: PING_TIMEOUT_MS });
    const end = (ready: boolean) => {
      socket.destroy();
      answer(ready);
    };
    let text = "";
    socket.once("connect", () => socket.write(`AUTH ${password}\r\nPING\r\n`));
    socket.once("error", () => end(false));
    socket.once("timeout", () => end(false));
    socket.once("close", () => end(false));
    socket.on("data", (chunk: Buffer) => {
      text += chunk.toString("utf8");
      const [auth, ping] = text.split("\r\n");
      if (ping !== undefined && text.endsWith("\r\n")) end(auth === "+OK" && ping === "+PONG");
    });
  });
}

async function endServer(server: Server, signal: "SIGTERM" | "SIGKILL"): Promise<void> {
  const { child, exited } = server;
  if (isOver(child)) return;
  const force = setTimeout(() => child.kill("SIGKILL"), STOP_TIMEOUT_MS);
  child.kill(signal);
  await exited;
  clearTimeout(force);
}

function isOver(child: ChildProcess): boolean {
  return child.pid === undefined || child.exitCode !== null || child.signalCode !== null;
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
