/** Sums up a CPU profile of V8: which functions, and whose code, the time went to. Pure. */

/** The parts of a .cpuprofile file that are read. */
export interface CpuProfile {
  readonly nodes: readonly ProfileNode[];
  /** Ids of nodes, in the order of time. */
  readonly samples: readonly number[];
  /** Microseconds from the sample before, or the start, to this sample. */
  readonly timeDeltas: readonly number[];
}

interface ProfileNode {
  readonly id: number;
  readonly callFrame: {
    readonly functionName: string;
    readonly url: string;
    /** Counts from 0. */
    readonly lineNumber: number;
    /** Counts from 0. */
    readonly columnNumber: number;
  };
}

/** Time that was spent in something itself, without what it called. */
export interface SelfTime {
  /** `name (file:line)` of a function, or whose code it is. */
  readonly what: string;
  readonly ms: number;
  /** Of the time in which the process was not idle. */
  readonly share: number;
}

/** What a process did with its time. */
export interface SelfTimes {
  readonly totalMs: number;
  readonly busyMs: number;
  readonly functions: readonly SelfTime[];
  /** By workspace, package, or part of Node. */
  readonly owners: readonly SelfTime[];
}

const IDLE = "(idle)";
const MICROS_PER_MS = 1_000;
/** Code of a workspace, as written or as built, wherever the repository lies. */
const OWN_CODE = /\/((?:(?:services|libs|apps|examples)\/[^/]+|bench)\/(?:src|dist)\/.*)$/;

/** Sums a profile up, the largest first. A sample lasts until the next one; the last one counts for nothing. `sourceOf` tells where
 * a function of built code was written. */
export function sumSelfTimes(
  profile: CpuProfile,
  sourceOf: (frame: Frame) => Frame = (frame) => frame,
): SelfTimes {
  const nodes = new Map(profile.nodes.map((node) => [node.id, sourceOf(node.callFrame)]));
  const functions = new Map<string, number>();
  const owners = new Map<string, number>();
  let totalMs = 0;
  let busyMs = 0;
  for (const [index, id] of profile.samples.entries()) {
    const ms = Math.max(0, profile.timeDeltas[index + 1] ?? 0) / MICROS_PER_MS;
    const frame = nodes.get(id);
    totalMs += ms;
    if (frame === undefined || frame.functionName === IDLE) continue;
    busyMs += ms;
    const what = describeFunction(frame);
    functions.set(what, (functions.get(what) ?? 0) + ms);
    const owner = ownerOf(frame);
    owners.set(owner, (owners.get(owner) ?? 0) + ms);
  }
  return { totalMs, busyMs, functions: rank(functions, busyMs), owners: rank(owners, busyMs) };
}

function rank(sums: ReadonlyMap<string, number>, busyMs: number): SelfTime[] {
  return [...sums]
    .map(([what, ms]) => ({ what, ms, share: busyMs === 0 ? 0 : ms / busyMs }))
    .sort((a, b) => b.ms - a.ms);
}

/** Where a function is, by the file it was loaded from. */
export type Frame = ProfileNode["callFrame"];

/** Says whether a file is one of ours. */
export function isOwnCode(url: string): boolean {
  return url.startsWith("file://") && !url.includes("/node_modules/") && OWN_CODE.test(url);
}

function describeFunction({ functionName, url, lineNumber }: Frame): string {
  const name = functionName === "" ? "(anonymous)" : functionName;
  return url === "" ? name : `${name} (${shortPath(url)}:${lineNumber + 1})`;
}

/** `services/x/src/a.ts` of this repository, `pg/lib/a.js` of a package, Node's own names as they are. */
function shortPath(url: string): string {
  const path = url.replace(/^file:\/\//, "");
  const inPackage = path.lastIndexOf("/node_modules/");
  if (inPackage >= 0) return path.slice(inPackage + "/node_modules/".length);
  return OWN_CODE.exec(path)?.[1] ?? path;
}

/** Code without a file is the machine's: garbage collection, natives, system calls. */
function ownerOf({ functionName, url }: Frame): string {
  if (url === "") return functionName.startsWith("(") ? functionName : "(native)";
  if (url.startsWith("node:")) return "node";
  const path = shortPath(url);
  const depth = path.startsWith("@") || /^(?:services|libs|apps|examples)\//.test(path) ? 2 : 1;
  return path.split("/").slice(0, depth).join("/");
}

/** Writes the first `top` lines of each list as a table. */
export function renderSelfTimes(times: SelfTimes, top: number): string {
  const line = ({ what, ms, share }: SelfTime) =>
    `${ms.toFixed(0).padStart(9)} ms ${(share * 100).toFixed(1).padStart(5)} %  ${what}`;
  const { totalMs, busyMs } = times;
  const busyShare = totalMs === 0 ? 0 : (busyMs / totalMs) * 100;
  return [
    `busy ${busyMs.toFixed(0)} of ${totalMs.toFixed(0)} ms (${busyShare.toFixed(0)} %); self time, and share of the busy time:`,
    ...times.functions.slice(0, top).map(line),
    "by owner of the code:",
    ...times.owners.slice(0, top).map(line),
    "",
  ].join("\n");
}
