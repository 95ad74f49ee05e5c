/** Postgres refuses to run as root, so root's development server runs as `nobody`, in folders that nobody can reach. */
import { createHash } from "node:crypto";
import { existsSync, lstatSync, mkdirSync, readFileSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { devkitError } from "../devkit-error.ts";

/** Debian, Fedora and most others; read from the user table because some have another. */
const NOBODY_DEFAULT_ID = 65_534;
/** Temporary files that outlive a reboot, by the Filesystem Hierarchy Standard 3.0 section 5.15. */
const PERSISTENT_TEMP = "/var/tmp";
const OTHERS_EXECUTE = 0o001;
const OTHERS_READ_EXECUTE = 0o005;
const GROUP_OR_OTHERS_WRITE = 0o022;

/** The user that Postgres runs as. */
export interface RunAs {
  readonly uid: number;
  readonly gid: number;
}

/** Returns the user to drop to, or undefined when this process is not root and Postgres can run as it is. */
export function unprivilegedUser(): RunAs | undefined {
  if (process.getuid?.() !== 0) return undefined;
  return nobodyFrom(readUserTable());
}

function readUserTable(): string {
  return existsSync("/etc/passwd") ? readFileSync("/etc/passwd", "utf8") : "";
}

/** Finds `nobody` in the text of a user table; falls back to 65534. */
export function nobodyFrom(userTable: string): RunAs {
  const entry = /^nobody:[^:]*:(\d+):(\d+):/m.exec(userTable);
  return {
    uid: Number(entry?.[1] ?? NOBODY_DEFAULT_ID),
    gid: Number(entry?.[2] ?? NOBODY_DEFAULT_ID),
  };
}

/** Says whether a user without rights can pass through every existing folder on the way to a path. */
export function othersCanReach(path: string): boolean {
  for (let folder = resolve(path); ; folder = dirname(folder)) {
    if (existsSync(folder) && (statSync(folder).mode & OTHERS_EXECUTE) === 0) return false;
    if (folder === dirname(folder)) return true;
  }
}

/** Says whether a user without rights can pass to a program and run it. */
export function othersCanRun(program: string): boolean {
  const mode = statSync(program).mode;
  return (mode & OTHERS_READ_EXECUTE) === OTHERS_READ_EXECUTE && othersCanReach(dirname(program));
}

/** Opens our own folder in the system's persistent temp directory, named after what it stands in for.
 *
 * The mark tells apart what stood for an earlier folder of the same path.
 * Its parent is writable by everybody, so a folder that another user made beforehand is refused.
 * Errors: precondition/DATA_DIR_UNSAFE. */
export function openSubstituteFolder(originalPath: string, mark = ""): string {
  const hash = createHash("sha256")
    .update(`${resolve(originalPath)}\n${mark}`)
    .digest("hex")
    .slice(0, 12);
  const base = existsSync(PERSISTENT_TEMP) ? PERSISTENT_TEMP : tmpdir();
  const folder = join(base, `nexus-dev-${hash}`);
  try {
    mkdirSync(folder, { mode: 0o755 });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
  }
  const stat = lstatSync(folder);
  const ours = stat.isDirectory() && stat.uid === process.getuid?.();
  if (!ours || (stat.mode & GROUP_OR_OTHERS_WRITE) !== 0) {
    throw devkitError(
      "DATA_DIR_UNSAFE",
      `${folder} exists but is not a folder that only this user can write: remove it or choose another data directory`,
    );
  }
  return folder;
}
