/** A NATS server of this machine's own program, to measure beside. Nothing of NEXUS uses one. */
import { randomBytes } from "node:crypto";
import { mkdirSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { devkitError } from "../devkit-error.ts";
import {
  endLocalServer,
  findOnPath,
  greet,
  type LocalServer,
  startLocalServer,
  startOnFreePort,
} from "../local-server.ts";
import { LOOPBACK } from "../ports.ts";
import { type ChildGuard, startChildGuard } from "../stack/child-guard.ts";

const PROGRAM = "nats-server";
const PASSWORD_BYTES = 24;
const USER = "bench";
const SYSTEM_USER = "system";

/** When what JetStream acknowledged is on disk: within its default interval of two minutes, or before the acknowledgement. */
export type JetStreamSync = "default" | "always";

/** How to start. */
export interface LocalNatsOptions {
  /** Holds the configuration and the streams; made when missing. */
  readonly dataDir: string;
  /** JetStream's `sync_interval`. */
  readonly sync: JetStreamSync;
  /** The server's program. @default what findNatsServer() finds */
  readonly program?: string;
}

/** A running server. Passwords are new ones for each start. */
export interface LocalNats {
  /** Connection string of a user whose account has JetStream. */
  readonly url: string;
  /** Connection string of the system account, which may ask the server about itself. */
  readonly systemUrl: string;
  /** Stops in good order. Safe to call twice. */
  stop(): Promise<void>;
}

/** Finds the program of a NATS server on the PATH; undefined when this machine has none. */
export function findNatsServer(path?: string): string | undefined {
  return findOnPath([PROGRAM], path);
}

/** Starts a server with JetStream on loopback, behind passwords, and resolves when it answers.
 *
 * When this process dies, however it dies, the server is stopped.
 * Errors: precondition/NATS_MISSING when the PATH has no program; NATS_START_FAILED with its last words. */
export async function startLocalNats(options: LocalNatsOptions): Promise<LocalNats> {
  const program = options.program ?? findNatsServer();
  if (program === undefined) {
    throw devkitError("NATS_MISSING", `there is no ${PROGRAM} on the PATH: install it`);
  }
  const dataDir = resolve(options.dataDir);
  mkdirSync(dataDir, { recursive: true, mode: 0o700 });
  const guard = startChildGuard();
  const password = randomBytes(PASSWORD_BYTES).toString("hex");
  const start = { program, dataDir, sync: options.sync, password, guard };
  try {
    const server = await startOnFreePort((port) => startServer({ ...start, port }));
    return toLocalNats(server, password, guard);
  } catch (error) {
    await guard.release();
    throw error;
  }
}

function toLocalNats(server: LocalServer, password: string, guard: ChildGuard): LocalNats {
  const urlOf = (user: string) => `nats://${user}:${password}@${LOOPBACK}:${server.port}`;
  let stopping: Promise<void> | undefined;
  return {
    url: urlOf(USER),
    systemUrl: urlOf(SYSTEM_USER),
    stop: () => {
      stopping ??= endLocalServer(server, "SIGTERM").then(() => guard.release());
      return stopping;
    },
  };
}

interface ServerStart {
  readonly program: string;
  readonly dataDir: string;
  readonly sync: JetStreamSync;
  readonly password: string;
  readonly port: number;
  readonly guard: ChildGuard;
}

function startServer(options: ServerStart): Promise<LocalServer> {
  const { program, dataDir, password, port, guard } = options;
  // The server reads its configuration from a file only; the folder and the file are their owner's.
  const file = join(dataDir, "nats.conf");
  writeFileSync(file, configurationOf(options), { mode: 0o600 });
  return startLocalServer({
    program,
    args: ["-c", file],
    cwd: dataDir,
    port,
    guard,
    failure: "NATS_START_FAILED",
    answers: (at) => answersPing(at, password),
  });
}

function configurationOf({ dataDir, sync, password, port }: ServerStart): string {
  const userOf = (name: string) => `users: [{ user: "${name}", password: "${password}" }]`;
  const interval = sync === "always" ? ", sync_interval: always" : "";
  return [
    `host: "${LOOPBACK}"`,
    `port: ${port}`,
    `jetstream { store_dir: ${JSON.stringify(join(dataDir, "jetstream"))}${interval} }`,
    `accounts {`,
    `  SYSTEM: { ${userOf(SYSTEM_USER)} }`,
    `  BENCH: { jetstream: enabled, ${userOf(USER)} }`,
    `}`,
    `system_account: SYSTEM`,
    "",
  ].join("\n");
}

/** Says whether a server with this password answers: another one on the port does not know it. */
function answersPing(port: number, password: string): Promise<boolean> {
  const login = JSON.stringify({ verbose: false, user: USER, pass: password });
  return greet(port, `CONNECT ${login}\r\nPING\r\n`, (text) => {
    if (text.includes("PONG\r\n")) return true;
    return text.includes("-ERR") ? false : undefined;
  });
}
