/** Makes the cluster's files, once. */
import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { devkitError } from "../devkit-error.ts";
import type { RunAs } from "./run-as.ts";

/** The only superuser; services get roles of their own. */
export const SUPERUSER = "postgres";

const CLUSTER_FOLDER = "cluster";
const PASSWORD_FILE = "superuser-password";
const INIT_PREFIX = "cluster-init-";
const PASSWORD_BYTES = 24;
const INITDB_TIMEOUT_MS = 60_000;
const OUTPUT_TAIL_CHARS = 2_000;

/** Where one server keeps its things. */
export interface ClusterPlace {
  /** Holds everything below. */
  readonly home: string;
  readonly cluster: string;
  readonly logFile: string;
}

/** Names the paths inside a data directory. */
export function clusterPlace(home: string): ClusterPlace {
  return { home, cluster: join(home, CLUSTER_FOLDER), logFile: join(home, "postgres.log") };
}

/** Says whether a folder holds a finished cluster. */
function hasCluster(place: ClusterPlace): boolean {
  return existsSync(join(place.cluster, "PG_VERSION"));
}

/** Runs initdb unless the cluster exists, and returns the superuser's password.
 *
 * initdb works in a folder beside, renamed when done: an interrupted first start leaves no half-made cluster.
 * Errors: precondition/POSTGRES_START_FAILED with initdb's last words. */
export async function ensureCluster(
  place: ClusterPlace,
  initdb: string,
  how: { readonly runAs: RunAs | undefined; readonly durable: boolean },
): Promise<string> {
  const passwordFile = join(place.home, PASSWORD_FILE);
  if (hasCluster(place)) return readFileSync(passwordFile, "utf8").trim();
  for (const name of readdirSync(place.home)) {
    if (name.startsWith(INIT_PREFIX)) rmSync(join(place.home, name), { recursive: true });
  }
  const password = randomBytes(PASSWORD_BYTES).toString("base64url");
  const draft = join(place.home, `${INIT_PREFIX}${process.pid}`);
  mkdirSync(draft, { mode: 0o700 });
  const secret = join(draft, "pw");
  const cluster = join(draft, "data");
  mkdirSync(cluster, { mode: 0o700 });
  writeFileSync(secret, `${password}\n`, { mode: 0o600 });
  if (how.runAs !== undefined) {
    for (const path of [draft, cluster, secret]) chownSync(path, how.runAs.uid, how.runAs.gid);
  }
  await runInitdb(initdb, initdbArguments(cluster, secret, how.durable), how.runAs);
  writeFileSync(passwordFile, `${password}\n`, { mode: 0o600 });
  chmodSync(passwordFile, 0o600);
  renameSync(cluster, place.cluster);
  rmSync(draft, { recursive: true });
  return password;
}

function initdbArguments(cluster: string, passwordFile: string, durable: boolean): string[] {
  return [
    `--pgdata=${cluster}`,
    `--username=${SUPERUSER}`,
    `--pwfile=${passwordFile}`,
    "--auth=scram-sha-256",
    "--encoding=UTF8",
    // Byte order everywhere: indexes and keyset pages sort alike on every machine.
    "--locale=C",
    "--no-instructions",
    ...(durable ? [] : ["--no-sync", "--no-data-checksums"]),
  ];
}

async function runInitdb(program: string, args: string[], runAs: RunAs | undefined): Promise<void> {
  const child = spawn(program, args, {
    ...runAs,
    cwd: "/",
    env: postgresEnvironment(),
    stdio: ["ignore", "pipe", "pipe"],
    timeout: INITDB_TIMEOUT_MS,
  });
  let output = "";
  const collect = (chunk: Buffer) => {
    output = (output + chunk.toString("utf8")).slice(-OUTPUT_TAIL_CHARS);
  };
  child.stdout.on("data", collect);
  child.stderr.on("data", collect);
  const outcome = await new Promise<string>((resolve) => {
    child.once("error", (error) => resolve(error.message));
    child.once("close", (code, signal) => resolve(code === 0 ? "" : `exit ${signal ?? code}`));
  });
  if (outcome !== "") {
    throw devkitError("POSTGRES_START_FAILED", `initdb failed (${outcome}): ${output.trim()}`);
  }
}

/** Postgres gets nothing of our environment but the search path: PG* variables would change what it does. */
export function postgresEnvironment(): NodeJS.ProcessEnv {
  const { PATH, SystemRoot } = process.env;
  return {
    ...(PATH === undefined ? {} : { PATH }),
    ...(SystemRoot === undefined ? {} : { SystemRoot }),
    LC_ALL: "C",
    TZ: "UTC",
  };
}
