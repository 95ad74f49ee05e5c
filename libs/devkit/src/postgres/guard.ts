/** Sees to it that no server outlives its owner, however the owner ends.
 *
 * A shell waits for the end of a pipe whose other end only the owner holds. The kernel closes that end when the owner dies, of
 * SIGKILL too; then the shell stops the server of the data directory. It costs two small processes and no polling. */
import { type ChildProcess, spawn } from "node:child_process";
import { ALIVE } from "../guard-shell.ts";

/** $1 cluster folder, all others: folders to remove afterwards. The pid is read at the end, so restarts need no word to the guard;
 * the command line is compared first, so that a later process with the same pid is left alone. */
const SCRIPT = `${ALIVE}
trap '' HUP INT TERM
cat >/dev/null
pid=$(head -n 1 "$1/postmaster.pid" 2>/dev/null)
if [ -r "/proc/$pid/cmdline" ]; then command=$(tr '\\0' ' ' <"/proc/$pid/cmdline")
else command=$(ps -o command= -p "$pid" 2>/dev/null); fi
case "$pid:$command" in
[0-9]*:*"$1"*)
  kill -INT "$pid" 2>/dev/null
  n=0
  while [ $n -lt 100 ] && alive "$pid"; do sleep 0.1; n=$((n + 1)); done
  kill -QUIT "$pid" 2>/dev/null
esac
shift
n=0
while [ $# -gt 0 ] && [ $n -lt 50 ]; do
  rm -rf -- "$@" 2>/dev/null && break
  sleep 0.1
  n=$((n + 1))
done
`;

/** A running guard. */
export interface Guard {
  /** Lets the guard go after the server has stopped; resolves when it has ended. */
  release(): Promise<void>;
}

/** Starts the guard of a cluster; `removable` folders are deleted when the owner has gone or lets go. */
export function startGuard(clusterFolder: string, removable: readonly string[]): Guard {
  if (process.platform === "win32") return { release: () => Promise.resolve() };
  const child = spawn("/bin/sh", ["-c", SCRIPT, "nexus-guard", clusterFolder, ...removable], {
    cwd: "/",
    // Its own session: Ctrl-C in the terminal must not reach it.
    detached: true,
    stdio: ["pipe", "ignore", "ignore"],
  });
  letGo(child);
  const ended = new Promise<void>((resolve) => {
    child.once("close", () => resolve());
    child.once("error", () => resolve());
  });
  child.stdin?.on("error", () => undefined);
  return {
    release: async () => {
      child.ref();
      child.stdin?.end();
      await ended;
    },
  };
}

/** The guard must not keep its owner's event loop alive. */
function letGo(child: ChildProcess): void {
  child.unref();
  (child.stdin as unknown as { unref?: () => void } | null)?.unref?.();
}
