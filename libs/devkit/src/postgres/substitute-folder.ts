/** Folders in the system's persistent temp directory that stand in for ones the server's user cannot reach. */
import { createHash, randomBytes } from "node:crypto";
import {
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve, sep } from "node:path";
import { devkitError } from "../devkit-error.ts";
import { liveOwner } from "../owner-lock.ts";

/** Temporary files that outlive a reboot, by the Filesystem Hierarchy Standard 3.0 section 5.15. */
const PERSISTENT_TEMP = "/var/tmp";
const PREFIX = "nexus-dev-";
const HASH_LENGTH = 12;
const GROUP_OR_OTHERS_WRITE = 0o022;
/** In the data directory: ties the substitute to this directory, not to a later one with the same path. */
const MARK_FILE = "substitute-mark";
/** In the substitute: what it stands in for. */
const ORIGIN_FILE = "stands-in-for.json";
const MARK_BYTES = 8;
const CLUSTER_HOME = "pg";

interface Origin {
  readonly path: string;
  readonly mark: string;
}

/** Opens our own folder in the persistent temp directory, named after what it stands in for.
 *
 * Its parent is writable by everybody, so a folder that another user made beforehand is refused.
 * Errors: precondition/DATA_DIR_UNSAFE. */
export function openSubstituteFolder(originalPath: string, mark = ""): string {
  const hash = createHash("sha256")
    .update(`${resolve(originalPath)}\n${mark}`)
    .digest("hex");
  const folder = join(persistentTemp(), PREFIX + hash.slice(0, HASH_LENGTH));
  try {
    mkdirSync(folder, { mode: 0o755 });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
  }
  if (isOursAlone(folder)) return folder;
  throw devkitError(
    "DATA_DIR_UNSAFE",
    `${folder} exists but is not a folder that only this user can write: remove it or choose another data directory`,
  );
}

/** Opens the substitute of a data directory and returns the place for the cluster in it, the same one for as long as that directory lives.
 *
 * A person who deletes the directory means the data too: a new directory of that name gets a new substitute. Substitutes of temporary
 * directories that are gone are removed on the way, since nobody else will; others might be on a disk that is away. */
export function openDataSubstitute(dataDir: string): { folder: string; home: string } {
  removeAbandoned();
  mkdirSync(dataDir, { recursive: true, mode: 0o755 });
  const markFile = join(dataDir, MARK_FILE);
  if (!existsSync(markFile)) writeFileSync(markFile, randomBytes(MARK_BYTES).toString("hex"));
  const origin: Origin = { path: dataDir, mark: readFileSync(markFile, "utf8").trim() };
  const folder = openSubstituteFolder(origin.path, origin.mark);
  writeFileSync(join(folder, ORIGIN_FILE), JSON.stringify(origin));
  const home = join(folder, CLUSTER_HOME);
  mkdirSync(home, { recursive: true, mode: 0o755 });
  return { folder, home };
}

function removeAbandoned(): void {
  const temp = persistentTemp();
  for (const name of readdirSync(temp)) {
    const folder = join(temp, name);
    if (name.startsWith(PREFIX) && isOursAlone(folder) && isAbandoned(folder)) {
      rmSync(folder, { recursive: true, force: true });
    }
  }
}

function isAbandoned(folder: string): boolean {
  const origin = readOrigin(folder);
  if (origin === undefined) return false;
  const temporary = resolve(origin.path).startsWith(resolve(tmpdir()) + sep);
  const owned = liveOwner(join(folder, CLUSTER_HOME)) !== undefined;
  return temporary && !owned && !existsSync(origin.path);
}

function readOrigin(folder: string): Origin | undefined {
  try {
    return JSON.parse(readFileSync(join(folder, ORIGIN_FILE), "utf8")) as Origin;
  } catch {
    // Holds programs, or was made just now by another process.
    return undefined;
  }
}

function isOursAlone(folder: string): boolean {
  const stat = lstatSync(folder, { throwIfNoEntry: false });
  if (stat === undefined || !stat.isDirectory()) return false;
  return stat.uid === process.getuid?.() && (stat.mode & GROUP_OR_OTHERS_WRITE) === 0;
}

function persistentTemp(): string {
  return existsSync(PERSISTENT_TEMP) ? PERSISTENT_TEMP : tmpdir();
}
