/** Ends the processes of a stack when its supervisor dies, even if they do not notice it themselves.
 *
 * Like the database's guard: a shell reads a pipe that the kernel closes with the supervisor. Services that see their own
 * channel to the supervisor close have left by themselves before; this is for one that hangs. */
import { spawn } from "node:child_process";
import { ALIVE } from "../guard-shell.ts";

/** Lines `+ pid` and `- pid` keep the list; at the end of the pipe what is left gets SIGTERM, and SIGKILL 5 s later. */
const SCRIPT = `${ALIVE}
trap '' HUP INT TERM
pids=" "
while read -r op pid; do
  case $op in
  +) pids="$pids$pid " ;;
  -) pids="\${pids%% $pid *} \${pids#* $pid }" ;;
  esac
done
for pid in $pids; do kill -TERM "$pid" 2>/dev/null; done
n=0
while [ $n -lt 50 ]; do
  left=
  for pid in $pids; do alive "$pid" && left=1; done
  [ -z "$left" ] && exit 0
  sleep 0.1
  n=$((n + 1))
done
for pid in $pids; do kill -KILL "$pid" 2>/dev/null; done
`;

/** Knows the processes that must not outlive this one. */
export interface ChildGuard {
  watch(pid: number): void;
  forget(pid: number): void;
  /** Ends the guard; resolves when it has ended. */
  release(): Promise<void>;
}

/** Starts a guard. On Windows it does nothing: there the services' own channel has to do. */
export function startChildGuard(): ChildGuard {
  if (process.platform === "win32") {
    return { watch: () => undefined, forget: () => undefined, release: () => Promise.resolve() };
  }
  const shell = spawn("/bin/sh", ["-c", SCRIPT, "nexus-guard"], {
    cwd: "/",
    detached: true,
    stdio: ["pipe", "ignore", "ignore"],
  });
  const ended = new Promise<void>((resolve) => {
    shell.once("close", () => resolve());
    shell.once("error", () => resolve());
  });
  // A guard that died early must not take the supervisor with it.
  shell.stdin.on("error", () => undefined);
  return {
    watch: (pid) => shell.stdin.write(`+ ${pid}\n`),
    forget: (pid) => shell.stdin.write(`- ${pid}\n`),
    release: async () => {
      shell.stdin.end();
      await ended;
    },
  };
}
