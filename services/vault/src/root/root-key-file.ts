import { constants } from "node:fs";
import { type FileHandle, open, realpath, stat } from "node:fs/promises";
import { dirname } from "node:path";
import { rootKeyFileUnsafe } from "../domain/errors.ts";
import { ROOT_KEY_BYTES, tryParseRootKey } from "../domain/root-key.ts";

/** A key file is one line; more is another file. */
const FILE_BYTES_MAX = 256;
const OTHERS = 0o007;
const GROUP_MORE_THAN_READ = 0o030;
const GROUP_READ = 0o040;
const OTHERS_WRITE = 0o002;
const STICKY = 0o1000;
const ROOT_UID = 0;

/** Who runs this process, as far as file modes ask. */
export interface ProcessIdentity {
  readonly uid: number;
  /** Its own group, and those beside it: a pod's `fsGroup` is one of the latter. */
  readonly gids: readonly number[];
}

/** The identity that the kernel checks. Asks no user database: a container's user is often in none. */
export function processIdentity(): ProcessIdentity {
  const { geteuid, getegid, getgroups } = process;
  if (geteuid === undefined || getegid === undefined || getgroups === undefined) {
    throw new Error("Key files need a system with file modes.");
  }
  return { uid: geteuid(), gids: [getegid(), ...getgroups()] };
}

/** Reads a key from a file that nobody else may read: 32 bytes in base64, one line.
 *
 * Allowed are the modes 0400 and 0600, and 0440 or 0640 for a file that root owns and that this process reads by its
 * own groups: that is how Kubernetes mounts a Secret for a pod with `fsGroup`. The folder must not let others replace
 * the file. The checks are made on the opened file, so it cannot be exchanged between check and reading.
 * Errors: precondition/ROOT_KEY_UNSAFE, saying what is wrong and never what is in the file. */
export async function readRootKeyFile(path: string, identity: ProcessIdentity): Promise<Buffer> {
  const resolved = await resolvePath(path);
  await assertFolderSafe(resolved, path);
  const file = await openFile(resolved, path);
  try {
    const stats = await file.stat();
    if (!stats.isFile()) throw rootKeyFileUnsafe(path, "is no regular file");
    const { mode, uid, gid, size } = stats;
    const problem = modeProblem({ mode, uid, gid }, identity);
    if (problem !== undefined) throw rootKeyFileUnsafe(path, problem);
    if (size > FILE_BYTES_MAX) throw rootKeyFileUnsafe(path, "is too large for a key");
    const bytes = await file.readFile();
    const key = tryParseRootKey(bytes.toString("utf8"));
    bytes.fill(0);
    if (key !== undefined) return key;
    throw rootKeyFileUnsafe(path, `does not hold ${ROOT_KEY_BYTES} bytes in base64`);
  } finally {
    await file.close();
  }
}

/** Says what is wrong with the mode of a key file; undefined when nothing is. */
export function modeProblem(
  file: { readonly mode: number; readonly uid: number; readonly gid: number },
  { uid, gids }: ProcessIdentity,
): string | undefined {
  const mode = file.mode & 0o777;
  const shown = `0${mode.toString(8).padStart(3, "0")}`;
  if ((mode & OTHERS) !== 0 || (mode & GROUP_MORE_THAN_READ) !== 0) {
    return `has mode ${shown}; use 0400 or 0600`;
  }
  if ((mode & GROUP_READ) === 0) {
    return file.uid === uid || uid === ROOT_UID ? undefined : "belongs to another user";
  }
  const mountedForOurGroup = file.uid === ROOT_UID && gids.includes(file.gid) && uid !== ROOT_UID;
  return mountedForOurGroup ? undefined : `has mode ${shown}; use 0400 or 0600`;
}

async function openFile(resolved: string, path: string): Promise<FileHandle> {
  try {
    // Without O_NONBLOCK a pipe would hold the start up until somebody writes to it.
    const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK } = constants;
    return await open(resolved, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  } catch (cause) {
    throw rootKeyFileUnsafe(path, "cannot be read", cause);
  }
}

async function resolvePath(path: string): Promise<string> {
  try {
    return await realpath(path);
  } catch (cause) {
    throw rootKeyFileUnsafe(path, "cannot be found", cause);
  }
}

async function assertFolderSafe(resolved: string, path: string): Promise<void> {
  const { mode } = await stat(dirname(resolved));
  if ((mode & OTHERS_WRITE) !== 0 && (mode & STICKY) === 0) {
    throw rootKeyFileUnsafe(path, "lies in a folder in which anybody may replace it");
  }
}
