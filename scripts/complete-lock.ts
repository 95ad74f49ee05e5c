/** Adds to package-lock.json the optional packages of other platforms that npm could not look up.
 *
 * A registry mirror that carries only one platform's binaries makes `npm install` leave the others out, and then
 * `npm ci` refuses the lock ("Missing: ... from lock file") everywhere, this platform included. An entry with
 * name, version and platform is enough for npm: it skips what does not fit and fetches what does.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

/** The part of a lock entry that this reads or writes. */
export interface LockEntry {
  readonly version?: string;
  readonly dev?: boolean;
  readonly optional?: boolean;
  readonly cpu?: readonly string[];
  readonly os?: readonly string[];
  readonly libc?: readonly string[];
  readonly optionalDependencies?: Readonly<Record<string, string>>;
}

/** Lock entries by path: "" for the root, `node_modules/<name>` for a hoisted package. */
export type LockEntries = Readonly<Record<string, LockEntry>>;

const SYSTEMS = ["darwin", "win32", "android", "freebsd", "openharmony", "linux"];
const PROCESSORS = ["arm64", "x64", "ppc64", "riscv64", "s390x", "ia32", "arm"];
const LIBRARIES = new Map([
  ["musl", "musl"],
  ["gnu", "glibc"],
]);

/** Names every optional dependency that has no entry, with the entry it lacks. */
export function findMissingEntries(packages: LockEntries): Map<string, LockEntry> {
  const missing = new Map<string, LockEntry>();
  for (const [path, entry] of Object.entries(packages)) {
    for (const [name, range] of Object.entries(entry.optionalDependencies ?? {})) {
      const places = [`${path}/node_modules/${name}`, `node_modules/${name}`];
      if (places.some((place) => Object.hasOwn(packages, place))) continue;
      missing.set(`node_modules/${name}`, createEntry(name, range, entry.dev === true));
    }
  }
  return missing;
}

function createEntry(name: string, range: string, dev: boolean): LockEntry {
  const platform = name.slice(name.lastIndexOf("/") + 1);
  const cpu = PROCESSORS.filter((word) => platform.includes(word)).slice(0, 1);
  const libc = [...LIBRARIES].filter(([word]) => platform.includes(word)).map(([, value]) => value);
  const os = SYSTEMS.filter((word) => platform.includes(word));
  if (cpu.length === 0 || os.length === 0) throw new Error(`${name} does not name its platform`);
  return {
    version: range.replace(/^[\^~]/, ""),
    cpu,
    ...(dev ? { dev } : {}),
    ...(libc.length > 0 && os.includes("linux") ? { libc } : {}),
    optional: true,
    os,
  };
}

/** Writes the missing entries in npm's own order and says how many there were. */
function completeLock(path: string): number {
  const lock = JSON.parse(readFileSync(path, "utf8")) as { packages: Record<string, LockEntry> };
  const missing = findMissingEntries(lock.packages);
  const entries = [...Object.entries(lock.packages), ...missing];
  entries.sort(([left], [right]) => left.localeCompare(right, "en"));
  writeFileSync(
    path,
    `${JSON.stringify({ ...lock, packages: Object.fromEntries(entries) }, null, 2)}\n`,
  );
  return missing.size;
}

if (process.argv[1] === import.meta.filename) {
  console.log(`${completeLock(join(import.meta.dirname, "../package-lock.json"))} entries added`);
}
