/** Temporary folders that every user of the machine can pass through. */
import { chmod, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** A folder that belongs to the caller. */
export interface TempFolder {
  readonly path: string;
  /** Removes it with all that is in it. */
  remove(): Promise<void>;
}

/** Creates an empty folder, mode 0755 and not 0700 as mkdtemp does: a database that was started by root runs as another user. */
export async function createTempFolder(name = "nexus-test"): Promise<TempFolder> {
  const path = await mkdtemp(join(tmpdir(), `${name}-`));
  await chmod(path, 0o755);
  return { path, remove: () => rm(path, { recursive: true, force: true }) };
}
