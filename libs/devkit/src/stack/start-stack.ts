/** The whole of NEXUS on one machine: a database and the services' processes under one supervisor. */
import { mkdirSync } from "node:fs";
import { join, resolve } from "node:path";
import { devkitError } from "../devkit-error.ts";
import { takeOwnership } from "../owner-lock.ts";
import { type ChildGuard, startChildGuard } from "./child-guard.ts";
import { caFileIn, serviceEnvironment, type Variables } from "./environment.ts";
import {
  assertPortsFree,
  PORT_BASE_DEFAULT,
  type PortPlan,
  planFreePorts,
  planPorts,
  takenPorts,
} from "./port-plan.ts";
import { waitUntilReady } from "./readiness.ts";
import { createRestartPolicy } from "./restart-policy.ts";
import {
  type AdminCredentials,
  adminCredentialsOf,
  openRootKeyFile,
  openSecrets,
  writeAdminCredentials,
} from "./secrets.ts";
import {
  type InstanceName,
  instanceNames,
  type ReplicaCounts,
  replicasProblem,
  type ServiceName,
  serviceEntry,
  serviceOf,
} from "./services.ts";
import { describeStack, removeStackInfo, type StackInfo, writeStackInfo } from "./stack-info.ts";
import { openStackLog, type StackLog, type StackLogMode } from "./stack-log.ts";
import { createStackProcesses, type StackProcesses } from "./stack-processes.ts";
import { type StackServers, startStackServers } from "./stack-servers.ts";
import { type SupervisedProcess, superviseProcess } from "./supervised-process.ts";

/** The heap of a service, in MiB, as its manifest in k8s/base gives it. Without a limit Node goes by the memory of the machine, and
 * a service that was busy for a minute keeps twice what it needs. */
export const SERVICE_HEAP_MIB = 384;
/** Half of what a service makes new objects in, in MiB, as in k8s/base. Node 24 takes 64 by itself, which cost the orchestrator 72 MiB
 * more at 1 000 tasks/s and won nothing. */
const SERVICE_SEMI_SPACE_MIB = 16;
/** What lives long may grow to this, in MiB, before the whole heap is collected. V8 by itself goes by what lived at the last such collection, a router's
 * 40 MiB, and collects anew for each few thousand messages that happen to live through a small collection. */
const SERVICE_OLD_SPACE_FREE_MIB = 64;
const READY_TIMEOUT_MS = 120_000;
/** After a supervisor that was killed, its processes need this long at most to see it and leave their ports. */
const TAKE_OVER_PATIENCE_MS = 20_000;
const FREE_PORTS_ATTEMPTS_MAX = 3;

/** How to start a stack. */
export interface StackOptions {
  /** Holds data, secrets, logs and stack.json; a later start on it goes on where this one ended. */
  readonly dataDir: string;
  /** Gateway's port; the others follow from it. "free" takes whatever is free, and other ones when one
   * of those is taken before the stack listens there. @default 7400 */
  readonly portBase?: number | "free";
  /** "prefix": to standard output; "file": to <dataDir>/logs; "quiet": nowhere. @default "file" */
  readonly logs?: StackLogMode;
  /** Log level of every service. @default the services' own, info */
  readonly logLevel?: string;
  /** False trades durability of the database for speed, for tests. @default true */
  readonly durable?: boolean;
  /** Processes of the orchestrator, which share its work: `orchestrator`, `orchestrator-2` and so on. 1 to 16. @default 1 */
  readonly orchestrators?: number;
  /** Processes of the mesh-router, which share the sessions. More than one need a Redis between them, which is started too: the PATH
   * must have its program. 1 to 16. @default 1 */
  readonly meshRouters?: number;
  /** Has every port speak TLS, and the services prove themselves to each other, with certificates that vault issues. Clients need
   * `info.caFile`. @default false */
  readonly tls?: boolean;
  /** Further variables for every process, or for each by its name and what it gets anyway; win over the stack's own. */
  readonly env?: Variables | ((name: InstanceName, own: Variables) => Variables);
  /** Has every service write a CPU profile of its whole life to <profileDir>/<service>.cpuprofile when it stops.
   *
   * A service that is killed writes none; one that is started again replaces the file. @default no profiles */
  readonly profileDir?: string;
  /** The heap of each service, in MiB. @default SERVICE_HEAP_MIB */
  readonly heapMib?: number;
  /** Ends a start that is under way. */
  readonly signal?: AbortSignal;
  /** The program of each service. @default services/<name>/dist/bundle.js of this repository */
  readonly entryOf?: (name: ServiceName) => string;
  /** Hears what a person should know: processes that died, files put elsewhere. Logged in any case. */
  readonly onNotice?: (notice: string) => void;
}

/** A running stack. */
export interface Stack {
  /** As in <dataDir>/stack.json, with the process ids of this moment. */
  readonly info: StackInfo;
  /** How to log in as the first administrator. */
  readonly admin: AdminCredentials;
  /** Connection string of the database server's superuser, database `postgres`: for what looks at the server itself. */
  readonly postgresUrl: string;
  /** Faults to order. */
  readonly processes: StackProcesses;
  /** Stops everything in order, the edge first, the database last. Keeps the data. Safe to call twice. */
  stop(): Promise<void>;
}

/** Starts database and services and resolves when all of them say that they are ready.
 *
 * Whatever ends by itself is started again. When this process ends, however it ends, so does everything it started.
 * Errors: precondition/PORT_IN_USE, before anything is started; precondition/DATA_DIR_IN_USE; precondition/STACK_START_FAILED
 * with the last log lines of the service that did not become ready; those of startEmbeddedPostgres and startLocalRedis. Nothing keeps
 * running then. */
export async function startStack(options: StackOptions): Promise<Stack> {
  const { orchestrators = 1, meshRouters = 1 } = options;
  for (const [what, count] of Object.entries({ orchestrators, meshRouters })) {
    const problem = replicasProblem(count);
    if (problem !== undefined) throw new TypeError(`${what} ${problem}`);
  }
  const replicas = { orchestrator: orchestrators, "mesh-router": meshRouters };
  const dataDir = resolve(options.dataDir);
  mkdirSync(dataDir, { recursive: true, mode: 0o755 });
  const base = options.portBase ?? PORT_BASE_DEFAULT;
  for (let attempt = 1; ; attempt += 1) {
    const lock = takeOwnership(dataDir);
    let ports: PortPlan | undefined;
    try {
      ports = await choosePorts({ base, replicas, tookOver: lock.tookOver });
      const releaseLock = () => lock.release();
      return await startLocked({ options, replicas, dataDir, ports, releaseLock });
    } catch (error) {
      lock.release();
      const final = attempt >= FREE_PORTS_ATTEMPTS_MAX || options.signal?.aborted === true;
      if (final || base !== "free" || ports === undefined) throw error;
      // Nothing of ours runs any more: a port that is taken now was taken by somebody else between the choice and the bind.
      const taken = await takenPorts(ports);
      if (taken.length === 0) throw error;
      options.onNotice?.(`port ${taken.join(", ")} was taken meanwhile; starting on other ports`);
    }
  }
}

async function choosePorts(wanted: {
  readonly base: number | "free";
  readonly replicas: ReplicaCounts;
  readonly tookOver: boolean;
}): Promise<PortPlan> {
  const { base, replicas, tookOver } = wanted;
  if (base === "free") return planFreePorts(replicas);
  const ports = planPorts(base, replicas);
  await assertPortsFree(ports, tookOver ? TAKE_OVER_PATIENCE_MS : 0);
  return ports;
}

interface StartInput {
  readonly options: StackOptions;
  readonly replicas: ReplicaCounts;
  readonly dataDir: string;
  readonly ports: PortPlan;
  readonly releaseLock: () => void;
}

async function startLocked(input: StartInput): Promise<Stack> {
  const { options, dataDir, ports } = input;
  const secrets = openSecrets(dataDir);
  const rootKeyFile = openRootKeyFile(dataDir);
  const tlsFolder = options.tls === true ? join(dataDir, "tls") : undefined;
  const caFile = tlsFolder === undefined ? undefined : caFileIn(tlsFolder);
  const adminCredentialsFile = writeAdminCredentials(dataDir, secrets, caFile);
  const log = openStackLog(options.logs ?? "file", dataDir, options.onNotice);
  const guard = startChildGuard();
  const names = instanceNames(input.replicas);
  const services = new Map<InstanceName, SupervisedProcess>();
  let servers: StackServers | undefined;
  const describe = () =>
    describeStack({
      ports,
      pidOf: (name) => services.get(name)?.pid,
      postgresPid: servers?.postgres.pid ?? 0,
      redisPid: servers?.redis?.pid ?? 0,
      adminCredentialsFile,
      dataDir,
      caFile,
    });
  let ready = false;
  const isReady = () => ready;
  const publish = () => {
    if (ready) writeStackInfo(describe());
  };
  const stop = once(async () => {
    ready = false;
    for (const name of [...names].reverse()) await services.get(name)?.stop();
    await servers?.stop();
    await guard.release();
    removeStackInfo(dataDir);
    input.releaseLock();
  });
  try {
    const { durable = true } = options;
    const { notice: onNotice } = log;
    const told = { onNotice, onRestarted: publish };
    servers = await startStackServers({ dataDir, ports, durable, secrets, ...told });
    const { logLevel, env: more = {} } = options;
    const extra = typeof more === "function" ? more : () => more;
    const redisUrl = servers.redis?.url;
    const environment = { ports, secrets, rootKeyFile, logLevel, tlsFolder, redisUrl, extra };
    options.signal?.throwIfAborted();
    // Vault first, for the others can do nothing before it vouches for them; together, for loading is most of a start.
    for (const name of ["vault", ...names.filter((name) => name !== "vault")] as const) {
      const env = { ...process.env, ...serviceEnvironment(name, environment) };
      services.set(name, startService(name, { options, env, log, guard, publish, isReady }));
    }
    await allReady(services, describe(), options.signal);
  } catch (error) {
    await stop();
    throw error;
  }
  ready = true;
  publish();
  const processes = createStackProcesses({ services, servers, describe, publish });
  return {
    get info() {
      return describe();
    },
    admin: adminCredentialsOf(secrets),
    postgresUrl: servers.postgres.url,
    processes,
    stop,
  };
}

interface ServiceStart {
  readonly options: StackOptions;
  readonly env: NodeJS.ProcessEnv;
  readonly log: StackLog;
  readonly guard: ChildGuard;
  readonly publish: () => void;
  readonly isReady: () => boolean;
}

/** Until the stack is ready a death is the end of the start, with the reason; afterwards it is mended. */
function startService(name: InstanceName, start: ServiceStart): SupervisedProcess {
  const policy = createRestartPolicy();
  const child = superviseProcess({
    name,
    entry: (start.options.entryOf ?? serviceEntry)(serviceOf(name)),
    env: start.env,
    nodeFlags: nodeFlags(name, start.options),
    log: start.log.of(name),
    guard: start.guard,
    policy: {
      delayAfterDeath: (death) => (start.isReady() ? policy.delayAfterDeath(death) : undefined),
    },
    onEvent: (event) => {
      start.publish();
      if (event.kind === "started" || !start.isReady()) return;
      const next =
        event.restartInMs === undefined
          ? "keeps ending and is given up"
          : `starts again in ${event.restartInMs} ms`;
      start.log.notice(`${name} ended (${event.how}) and ${next}`);
    },
  });
  child.start();
  return child;
}

/** Flags of Node that say when a service collects its heap. NODE_OPTIONS does not take them, so they stand in the image's command. */
export const COLLECTION_FLAGS = [`--initial-old-space-size=${SERVICE_OLD_SPACE_FREE_MIB}`] as const;

/** Flags of Node that bound the memory of a service. */
export function memoryFlags(heapMib = SERVICE_HEAP_MIB): string[] {
  return [`--max-old-space-size=${heapMib}`, `--max-semi-space-size=${SERVICE_SEMI_SPACE_MIB}`];
}

function nodeFlags(name: InstanceName, options: StackOptions): string[] {
  const { heapMib, profileDir } = options;
  const flags = [...COLLECTION_FLAGS, ...memoryFlags(heapMib)];
  if (profileDir === undefined) return flags;
  const file = `${name}.cpuprofile`;
  return [
    ...flags,
    "--cpu-prof",
    `--cpu-prof-dir=${resolve(profileDir)}`,
    `--cpu-prof-name=${file}`,
  ];
}

async function allReady(
  services: ReadonlyMap<InstanceName, SupervisedProcess>,
  info: StackInfo,
  signal: AbortSignal | undefined,
): Promise<void> {
  const stopAsking = new AbortController();
  const calledOff = abortOf(signal, stopAsking.signal);
  const waits = [...services].map(async ([name, child]) => {
    const { ops = "" } = info.services[name] ?? {};
    const ready = waitUntilReady(ops, READY_TIMEOUT_MS, stopAsking.signal);
    try {
      await Promise.race([ready, child.untimelyEnd, calledOff]);
    } catch (error) {
      if (signal?.aborted === true) throw error;
      const what = error instanceof Error ? error.message : String(error);
      throw devkitError(
        "STACK_START_FAILED",
        `${name}: ${what}\nIts last log lines:\n${child.tail()}`,
        error,
      );
    }
  });
  try {
    await Promise.all(waits);
  } finally {
    stopAsking.abort();
  }
}

/** Never resolves; rejects when the start is called off, until nobody listens any more. */
function abortOf(signal: AbortSignal | undefined, until: AbortSignal): Promise<never> {
  return new Promise((_resolve, reject) => {
    const abort = () => reject(signal?.reason as Error);
    if (signal?.aborted === true) abort();
    else signal?.addEventListener("abort", abort, { once: true, signal: until });
  });
}

function once(fn: () => Promise<void>): () => Promise<void> {
  let running: Promise<void> | undefined;
  return () => {
    running ??= fn();
    return running;
  };
}
