/** One process at a time owns a data directory. The lock is a file that names its owner; a dead owner's lock is void. */
import { linkSync, readFileSync, rmSync, unlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { devkitError } from "./devkit-error.ts";
import { processIdentity } from "./process-identity.ts";

const FILE_NAME = "owner.json";
const ATTEMPTS_MAX = 5;

/** Who holds a data directory. */
interface Owner {
  readonly pid: number;
  /** Tells the owner from a later process with its pid. */
  readonly identity: string;
}

/** A held lock. */
export interface OwnerLock {
  /** True when the last owner died without giving the directory back: its server may still run. */
  readonly tookOver: boolean;
  release(): void;
}

/** Takes the directory for this process.
 *
 * Errors: precondition/DATA_DIR_IN_USE while another live process, or this one, holds it.
 * Concurrency: link(2) makes the file appear whole or not at all, so of several starters one wins. */
export function takeOwnership(folder: string): OwnerLock {
  const file = join(folder, FILE_NAME);
  let tookOver = false;
  for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt += 1) {
    if (tryCreate(file)) return { tookOver, release: () => rmSync(file, { force: true }) };
    const owner = liveOwner(folder);
    if (owner !== undefined) {
      throw devkitError(
        "DATA_DIR_IN_USE",
        `${folder} is in use by process ${owner}: stop that one, or choose another directory with --data-dir`,
      );
    }
    tookOver = true;
    rmSync(file, { force: true });
  }
  throw devkitError("DATA_DIR_IN_USE", `${folder} is being taken by several processes at once`);
}

/** Returns the pid of the live process that holds a directory, or undefined. */
export function liveOwner(folder: string): number | undefined {
  const owner = readOwner(join(folder, FILE_NAME));
  const lives = owner !== undefined && processIdentity(owner.pid) === owner.identity;
  return lives ? owner.pid : undefined;
}

function tryCreate(file: string): boolean {
  const draft = `${file}.${process.pid}`;
  const owner: Owner = { pid: process.pid, identity: processIdentity(process.pid) ?? "" };
  writeFileSync(draft, `${JSON.stringify(owner)}\n`, { mode: 0o600 });
  try {
    linkSync(draft, file);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
    return false;
  } finally {
    unlinkSync(draft);
  }
}

function readOwner(file: string): Owner | undefined {
  try {
    return JSON.parse(readFileSync(file, "utf8")) as Owner;
  } catch {
    // Gone or damaged: nobody's.
    return undefined;
  }
}
