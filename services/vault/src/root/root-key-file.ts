import { constants } from "node:fs";
import { type FileHandle, open, realpath, stat } from "node:fs/promises";
import { dirname } from "node:path";
import { keyFileModeProblem, type ProcessIdentity } from "@nexus/shared";
import { rootKeyFileUnsafe } from "../domain/errors.ts";
import { ROOT_KEY_BYTES, tryParseRootKey } from "../domain/root-key.ts";

/** A key file is one line; more is another file. */
const FILE_BYTES_MAX = 256;
const OTHERS_WRITE = 0o002;
const STICKY = 0o1000;

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
    const problem = keyFileModeProblem({ mode, uid, gid }, identity);
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
