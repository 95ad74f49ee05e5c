/** A real Postgres from the npm package's binaries, for development and tests. Never used for production. */
import { mkdirSync, rmSync } from "node:fs";
import { resolve } from "node:path";
import { devkitError } from "../devkit-error.ts";
import { type OwnerLock, takeOwnership } from "../owner-lock.ts";
import { freePort, isPortFree, LOOPBACK } from "../ports.ts";
import { type ClusterPlace, clusterPlace, ensureCluster, SUPERUSER } from "./cluster.ts";
import { type Guard, startGuard } from "./guard.ts";
import { type NativeBinaries, openNativeBinaries } from "./native-binaries.ts";
import { type Postmaster, pidOfServer, startPostmaster, stopLeftover } from "./postmaster.ts";
import { othersCanReach, type RunAs, unprivilegedUser } from "./run-as.ts";
import { openDataSubstitute } from "./substitute-folder.ts";

const PORT_ATTEMPTS_MAX = 5;

const COMMON_SETTINGS: Readonly<Record<string, string>> = {
  max_connections: "200",
  shared_buffers: "128MB",
  jit: "off",
  timezone: "UTC",
  log_timezone: "UTC",
  // Statements and row values stay out of the log: they can hold what services keep secret.
  log_min_error_statement: "panic",
  log_error_verbosity: "terse",
};

/** Loses data when the machine goes down, not when the server is killed: what was committed is with the kernel by then. Only
 * for data that is thrown away. */
const VOLATILE_SETTINGS: Readonly<Record<string, string>> = {
  fsync: "off",
  full_page_writes: "off",
  wal_level: "minimal",
  max_wal_senders: "0",
  shared_buffers: "64MB",
};

/** How to start. */
export interface EmbeddedPostgresOptions {
  /** Kept between starts. */
  readonly dataDir: string;
  /** Default: a free one. */
  readonly port?: number;
  /** True keeps every acknowledged transaction over a crash of the machine; false only over one of the server, is faster and
   * for tests only. */
  readonly durable: boolean;
  /** Removes dataDir after stop(), and also when this process dies without stopping. @default false */
  readonly removeWhenDone?: boolean;
  /** Server settings that replace ours. */
  readonly settings?: Readonly<Record<string, string>>;
  /** Hears what a person should know: files that were put somewhere else than asked. */
  readonly onNotice?: (notice: string) => void;
  /** Called when the server ends by itself, not by stop(), kill() or restart(). */
  readonly onUnexpectedExit?: () => void;
}

/** A running server. */
export interface EmbeddedPostgres {
  /** Connection string of the superuser, database `postgres`. */
  readonly url: string;
  readonly port: number;
  readonly pid: number;
  /** Where the files really are. */
  readonly dataDir: string;
  /** Stops in good order and lets the directory go. Safe to call twice. */
  stop(): Promise<void>;
  /** Kills the server as a power cut would. restart() recovers it; so does a new start after stop(). */
  kill(): Promise<void>;
  /** Freezes the server with every session (SIGSTOP) until resume(): nothing answers, and no connection is closed. */
  pause(): void;
  resume(): void;
  /** Stops, if it runs, and starts again on the same port. */
  restart(): Promise<void>;
}

/** Starts the server of a data directory, making it on first use.
 *
 * As root the server runs as `nobody`; where nobody cannot reach dataDir, a folder in the persistent temp directory stands in
 * (onNotice says so). When this process dies, however it dies, the server is stopped; a later start also recovers what is left.
 * Errors: precondition/PORT_IN_USE, DATA_DIR_IN_USE (a server that another live process owns is never touched),
 * POSTGRES_BINARIES_MISSING, POSTGRES_START_FAILED, DATA_DIR_UNSAFE.
 * Cost: 1 s for the first start of a directory, 50 ms afterwards. */
export async function startEmbeddedPostgres(
  options: EmbeddedPostgresOptions,
): Promise<EmbeddedPostgres> {
  const runAs = unprivilegedUser();
  const { home, folders } = openHome(runAs, options);
  const place = clusterPlace(home);
  const removable = options.removeWhenDone === true ? folders : [];
  const lock = await takeQuietHome(place);
  // Only now: the guard ends whatever server runs here, so that server must be ours.
  const guard = startGuard(place.cluster, removable);
  try {
    const binaries = openNativeBinaries(runAs);
    if (binaries.notice !== undefined) options.onNotice?.(binaries.notice);
    const { durable } = options;
    const password = await ensureCluster(place, binaries.initdb, { runAs, durable });
    return await run({ options, runAs, place, lock, guard, binaries, password, removable });
  } catch (error) {
    await letGo({ lock, guard, removable });
    throw error;
  }
}

function openHome(
  runAs: RunAs | undefined,
  options: EmbeddedPostgresOptions,
): { home: string; folders: readonly string[] } {
  const dataDir = resolve(options.dataDir);
  const own = { home: dataDir, folders: [dataDir] };
  if (runAs === undefined || othersCanReach(dataDir)) {
    mkdirSync(dataDir, { recursive: true, mode: 0o755 });
    // Asked again, because a strict umask may have closed what was just made.
    if (runAs === undefined || othersCanReach(dataDir)) return own;
  }
  const { folder, home } = openDataSubstitute(dataDir);
  options.onNotice?.(
    `the database's files are in ${home}, because Postgres does not run as root and its user cannot reach ${dataDir}`,
  );
  return { home, folders: [folder, dataDir] };
}

/** Takes the directory and ends the server that a dead owner left in it; one that nobody of ours owned is not touched. */
async function takeQuietHome(place: ClusterPlace): Promise<OwnerLock> {
  const lock = takeOwnership(place.home);
  const running = pidOfServer(place);
  if (running !== undefined && !lock.tookOver) {
    lock.release();
    throw devkitError(
      "DATA_DIR_IN_USE",
      `a Postgres (process ${running}) that was not started from here runs on ${place.cluster}: stop it, or choose another directory with --data-dir`,
    );
  }
  await stopLeftover(place);
  return lock;
}

interface Running {
  readonly options: EmbeddedPostgresOptions;
  readonly runAs: RunAs | undefined;
  readonly place: ClusterPlace;
  readonly lock: OwnerLock;
  readonly guard: Guard;
  readonly binaries: NativeBinaries;
  readonly password: string;
  /** Folders that go away with the server. */
  readonly removable: readonly string[];
}

async function run(running: Running): Promise<EmbeddedPostgres> {
  const { options, place } = running;
  const urlOf = (port: number) =>
    `postgres://${SUPERUSER}:${running.password}@${LOOPBACK}:${port}/postgres`;
  const start = async (port: number): Promise<Postmaster> => {
    const { binaries, runAs } = running;
    const settings = settingsOf(options);
    const { postgres: program } = binaries;
    return startPostmaster({ program, place, port, settings, runAs, url: urlOf(port) });
  };
  const started = await startOnPort(options.port, start);
  const { port } = started;
  let { postmaster } = started;
  let asked = false;
  const watch = (current: Postmaster) => {
    void current.exited.then(() => {
      if (!asked && current === postmaster) options.onUnexpectedExit?.();
    });
  };
  watch(postmaster);
  let stopping: Promise<void> | undefined;
  return {
    url: urlOf(port),
    port,
    dataDir: place.home,
    get pid() {
      return postmaster.pid;
    },
    stop: () => {
      asked = true;
      stopping ??= postmaster.stop().then(() => letGo(running));
      return stopping;
    },
    kill: async () => {
      asked = true;
      await postmaster.kill();
    },
    pause: () => postmaster.pause(),
    resume: () => postmaster.resume(),
    restart: async () => {
      asked = true;
      await postmaster.stop();
      await stopLeftover(place);
      postmaster = await start(port);
      asked = false;
      watch(postmaster);
    },
  };
}

function settingsOf(options: EmbeddedPostgresOptions): Record<string, string> {
  return {
    ...COMMON_SETTINGS,
    ...(options.durable ? {} : VOLATILE_SETTINGS),
    ...options.settings,
  };
}

async function startOnPort(
  wanted: number | undefined,
  start: (port: number) => Promise<Postmaster>,
): Promise<{ port: number; postmaster: Postmaster }> {
  if (wanted !== undefined) {
    if (await isPortFree(wanted)) return { port: wanted, postmaster: await start(wanted) };
    throw devkitError("PORT_IN_USE", `port ${wanted}, for Postgres, is in use by another process`);
  }
  for (let attempt = 1; ; attempt += 1) {
    const port = await freePort();
    try {
      return { port, postmaster: await start(port) };
    } catch (error) {
      // Someone else may have taken the port between the choice and the bind; any other failure is final.
      if (attempt >= PORT_ATTEMPTS_MAX || (await isPortFree(port))) throw error;
    }
  }
}

async function letGo(held: Pick<Running, "lock" | "guard" | "removable">): Promise<void> {
  await held.guard.release();
  held.lock.release();
  for (const folder of held.removable) rmSync(folder, { recursive: true, force: true });
}
