/** A Redis of this machine's own program, for development and tests. Never used for production.
 *
 * No npm package carries a Redis, so a `redis-server` or `valkey-server` must be on the PATH. */
import { randomBytes } from "node:crypto";
import { mkdirSync } from "node:fs";
import { resolve } from "node:path";
import { devkitError } from "../devkit-error.ts";
import {
  endLocalServer,
  findOnPath,
  greet,
  isOver,
  type LocalServer,
  startLocalServer,
  startOnFreePort,
} from "../local-server.ts";
import { isPortFree, LOOPBACK } from "../ports.ts";
import { type ChildGuard, startChildGuard } from "../stack/child-guard.ts";

/** Programs that speak the protocol and take the same configuration, in the order in which they are looked for. */
const PROGRAMS = ["redis-server", "valkey-server"];
const PASSWORD_BYTES = 24;

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
  /** Called when the server ends by itself, not by stop(), kill() or restart(). */
  readonly onUnexpectedExit?: () => void;
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
export function findRedisServer(path?: string): string | undefined {
  return findOnPath(PROGRAMS, path);
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
    const first = await startOnPort(options.port, start);
    return toLocalRedis(first, { password, guard, start, ended: options.onUnexpectedExit });
  } catch (error) {
    await guard.release();
    throw error;
  }
}

interface Held {
  readonly password: string;
  readonly guard: ChildGuard;
  readonly start: (port: number) => Promise<LocalServer>;
  readonly ended: (() => void) | undefined;
}

function toLocalRedis(first: LocalServer, { password, guard, start, ended }: Held): LocalRedis {
  const { port } = first;
  let server = first;
  let asked = false;
  const watch = (current: LocalServer) => {
    void current.exited.then(() => {
      if (!asked && current === server) ended?.();
    });
  };
  watch(server);
  const end = (signal: "SIGTERM" | "SIGKILL") => {
    asked = true;
    return endLocalServer(server, signal);
  };
  let stopping: Promise<void> | undefined;
  return {
    url: `redis://:${password}@${LOOPBACK}:${port}`,
    port,
    get pid() {
      return isOver(server.child) ? 0 : (server.child.pid ?? 0);
    },
    stop: () => {
      stopping ??= end("SIGTERM").then(() => guard.release());
      return stopping;
    },
    kill: () => end("SIGKILL"),
    restart: async () => {
      await end("SIGTERM");
      server = await start(port);
      asked = false;
      watch(server);
    },
  };
}

async function startOnPort(
  wanted: number | undefined,
  start: (port: number) => Promise<LocalServer>,
): Promise<LocalServer> {
  if (wanted === undefined) return startOnFreePort(start);
  if (await isPortFree(wanted)) return start(wanted);
  throw devkitError("PORT_IN_USE", `port ${wanted}, for Redis, is in use by another process`);
}

interface ServerStart {
  readonly program: string;
  readonly dataDir: string;
  readonly durability: RedisDurability;
  readonly password: string;
  readonly port: number;
  readonly guard: ChildGuard;
}

function startServer(options: ServerStart): Promise<LocalServer> {
  const { program, dataDir, password, port, guard } = options;
  return startLocalServer({
    program,
    args: ["-"],
    cwd: dataDir,
    input: configurationOf(options),
    port,
    guard,
    failure: "REDIS_START_FAILED",
    answers: (at) => answersPing(at, password),
  });
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

/** Says whether a server with this password answers: another one on the port does not know it. */
function answersPing(port: number, password: string): Promise<boolean> {
  return greet(port, `AUTH ${password}\r\nPING\r\n`, (text) => {
    const [auth, ping] = text.split("\r\n");
    if (ping === undefined || !text.endsWith("\r\n")) return undefined;
    return auth === "+OK" && ping === "+PONG";
  });
}
