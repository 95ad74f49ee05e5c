/** CPU time of processes that have no metrics of their own, as Linux keeps it. */
import { readdirSync, readFileSync } from "node:fs";

/** What the kernel counts in, whatever the machine: USER_HZ. */
const TICKS_PER_SECOND = 100;
/** Places in /proc/<pid>/stat, counted after the closing parenthesis of the command's name. */
const PARENT = 1;
const USER_AND_SYSTEM = [11, 12];
const OF_ENDED_CHILDREN = [13, 14];

/** Places in the first line of /proc/stat after its name; what guests used is in the first two already. */
const ALL_TIMES = 8;
const STOLEN = 7;

/** What one process has used. */
export interface ProcessCpu {
  readonly parentPid: number;
  readonly seconds: number;
  /** Of those of its children that have ended. */
  readonly endedChildrenSeconds: number;
}

/** Reads the text of /proc/<pid>/stat. A command's name may hold blanks and parentheses. */
export function parseProcessCpu(stat: string): ProcessCpu {
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  const sum = (places: readonly number[]) =>
    places.reduce((total, place) => total + Number(fields[place]), 0) / TICKS_PER_SECOND;
  return {
    parentPid: Number(fields[PARENT]),
    seconds: sum(USER_AND_SYSTEM),
    endedChildrenSeconds: sum(OF_ENDED_CHILDREN),
  };
}

/** What became of the cores' time since the machine started, in ticks. */
export interface CoreTime {
  readonly all: number;
  /** Kept back by the host of a virtual machine, for others of its guests. */
  readonly stolen: number;
}

/** Reads the text of /proc/stat. */
export function parseCoreTime(stat: string): CoreTime {
  const times = stat
    .slice(0, stat.indexOf("\n"))
    .split(/\s+/)
    .slice(1, 1 + ALL_TIMES)
    .map(Number);
  return { all: times.reduce((sum, one) => sum + one, 0), stolen: times[STOLEN] ?? 0 };
}

/** Begins to watch the host; the function says which share of the cores it has kept back since, undefined where there is no /proc. */
export function watchStolenShare(): () => number | undefined {
  const first = readCoreTime();
  return () => {
    const last = readCoreTime();
    if (first === undefined || last === undefined || last.all === first.all) return undefined;
    return (last.stolen - first.stolen) / (last.all - first.all);
  };
}

function readCoreTime(): CoreTime | undefined {
  try {
    return parseCoreTime(readFileSync("/proc/stat", "utf8"));
  } catch {
    return undefined;
  }
}

/** CPU seconds of a process and all its children, those that have ended included; undefined where there is no /proc. */
export function readFamilyCpuSeconds(pid: number): number | undefined {
  const parent = readProcessCpu(pid);
  if (parent === undefined) return undefined;
  const children = readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map((name) => readProcessCpu(Number(name)))
    .filter((one) => one?.parentPid === pid);
  const ofChildren = children.reduce((sum, one) => sum + (one?.seconds ?? 0), 0);
  return parent.seconds + parent.endedChildrenSeconds + ofChildren;
}

function readProcessCpu(pid: number): ProcessCpu | undefined {
  try {
    return parseProcessCpu(readFileSync(`/proc/${pid}/stat`, "utf8"));
  } catch {
    // No Linux, or the process has ended since its folder was listed.
    return undefined;
  }
}
