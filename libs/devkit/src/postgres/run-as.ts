/** Postgres refuses to run as root, so root's development server runs as `nobody`, in folders that nobody can reach. */
import { existsSync, readFileSync, statSync } from "node:fs";
import { dirname, resolve } from "node:path";

/** Debian, Fedora and most others; read from the user table because some have another. */
const NOBODY_DEFAULT_ID = 65_534;
const OTHERS_EXECUTE = 0o001;
const OTHERS_READ_EXECUTE = 0o005;

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
