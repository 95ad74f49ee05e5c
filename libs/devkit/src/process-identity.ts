/** Looks at other processes: is this pid alive, and is it still the process that we knew by it? */
import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";

const PS_TIMEOUT_MS = 5_000;
/** Field 22 of /proc/<pid>/stat, counted after the closing parenthesis of the command name (field 2). */
const STAT_STATE = 0;
const STAT_PARENT = 1;
const STAT_START_TIME = 19;

/** Returns a text that stays the same for the life of a process and differs for a later one with the same pid; undefined when none lives. */
export function processIdentity(pid: number): string | undefined {
  if (process.platform !== "linux") return ps(pid, "lstart=");
  const fields = procStat(pid);
  return fields === undefined || fields[STAT_STATE] === "Z" ? undefined : fields[STAT_START_TIME];
}

/** Returns the command line of a live process, or undefined. */
export function processCommand(pid: number): string | undefined {
  if (process.platform !== "linux") return ps(pid, "command=");
  try {
    const text = readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ").trim();
    return text === "" ? undefined : text;
  } catch {
    // The process has ended.
    return undefined;
  }
}

/** Returns the pids of the direct children of a process. */
export function childProcesses(pid: number): number[] {
  if (process.platform === "linux") {
    return readdirSync("/proc")
      .filter((name) => /^\d+$/.test(name))
      .map(Number)
      .filter((candidate) => procStat(candidate)?.[STAT_PARENT] === String(pid));
  }
  return (psAll() ?? "")
    .split("\n")
    .map((line) => line.trim().split(/\s+/).map(Number))
    .filter(([, parent]) => parent === pid)
    .map(([child]) => child ?? 0)
    .filter((child) => child > 0);
}

function procStat(pid: number): string[] | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, "utf8");
    return text.slice(text.lastIndexOf(")") + 2).split(" ");
  } catch {
    // The process has ended.
    return undefined;
  }
}

function ps(pid: number, format: string): string | undefined {
  return runPs(["-o", format, "-p", String(pid)]);
}

function psAll(): string | undefined {
  return runPs(["-axo", "pid=,ppid="]);
}

function runPs(args: string[]): string | undefined {
  try {
    const text = execFileSync("ps", args, {
      encoding: "utf8",
      timeout: PS_TIMEOUT_MS,
      stdio: ["ignore", "pipe", "ignore"],
    });
    return text.trim() === "" ? undefined : text.trim();
  } catch {
    // ps exits 1 when there is no such process.
    return undefined;
  }
}
