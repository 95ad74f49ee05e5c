const OTHERS = 0o007;
const GROUP_MORE_THAN_READ = 0o030;
const GROUP_READ = 0o040;
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

/** Says what is wrong with the mode of a file that holds a key; undefined when nothing is.
 *
 * Allowed are the modes 0400 and 0600, and 0440 or 0640 for a file that root owns and that this process reads by its
 * own groups: that is how Kubernetes mounts a Secret for a pod with `fsGroup`. */
export function keyFileModeProblem(
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
