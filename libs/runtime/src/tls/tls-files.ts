import { type FSWatcher, statSync, watch } from "node:fs";
import { dirname } from "node:path";
import type { TlsMaterial, TlsSource } from "@nexus/rpc";
import {
  type LoadedTls,
  readTlsFiles,
  type TlsFileProblem,
  type TlsFileSet,
} from "./read-tls-files.ts";

/** What a reload found. */
export type TlsReload =
  | { readonly outcome: "changed"; readonly loaded: LoadedTls }
  | { readonly outcome: "unchanged" }
  | { readonly outcome: "refused"; readonly problems: readonly TlsFileProblem[] };

/** Several files are written one after the other; one reading follows the last of them. */
const SETTLE_MS = 100;
/** Not every file system tells of changes, so the files are looked at as well. */
const LOOK_MS = 10_000;

/** Certificates in files, as a source of TLS material: what is new and sound takes effect for new connections, what is not
 * sound is refused and the old material stays. */
export class TlsFiles implements TlsSource {
  readonly files: TlsFileSet;
  readonly #nowMs: () => number;
  readonly #listeners = new Set<() => void>();
  readonly #watchers: FSWatcher[] = [];
  #loaded: LoadedTls | undefined;
  #settle: NodeJS.Timeout | undefined;
  #look: NodeJS.Timeout | undefined;
  #seen = "";

  constructor(files: TlsFileSet, nowMs: () => number) {
    this.files = files;
    this.#nowMs = nowMs;
  }

  get current(): TlsMaterial | undefined {
    return this.#loaded?.material;
  }

  /** What is in force, with its times; undefined before the first sound reading. */
  get loaded(): LoadedTls | undefined {
    return this.#loaded;
  }

  onChange(fn: () => void): () => void {
    this.#listeners.add(fn);
    return () => this.#listeners.delete(fn);
  }

  /** Reads the files now. */
  reload(): TlsReload {
    this.#seen = this.#mark();
    const read = readTlsFiles(this.files, this.#nowMs());
    if ("problems" in read) return { outcome: "refused", problems: read.problems };
    if (isSame(this.#loaded?.material, read.material)) return { outcome: "unchanged" };
    this.#loaded = read;
    for (const fn of this.#listeners) fn();
    return { outcome: "changed", loaded: read };
  }

  /** Reloads whenever a file changes; `onReload` hears of each. Keeps no process alive. */
  watch(onReload: (reload: TlsReload) => void): void {
    const soon = () => {
      clearTimeout(this.#settle);
      this.#settle = setTimeout(() => onReload(this.reload()), SETTLE_MS).unref();
    };
    const { certFile, keyFile, caFile } = this.files;
    const paths = [certFile, keyFile, ...(caFile === undefined ? [] : [caFile])];
    // Folders are watched and not files: editors and Kubernetes replace files, or a link beside them, by a rename.
    for (const folder of new Set(paths.map((path) => dirname(path)))) {
      const watcher = tryWatch(folder, soon);
      if (watcher !== undefined) this.#watchers.push(watcher);
    }
    this.#look = setInterval(() => {
      if (this.#mark() !== this.#seen) soon();
    }, LOOK_MS).unref();
  }

  /** Ends the watch; the material stays. */
  close(): void {
    clearTimeout(this.#settle);
    clearInterval(this.#look);
    for (const watcher of this.#watchers.splice(0)) watcher.close();
  }

  #mark(): string {
    const { certFile, keyFile, caFile } = this.files;
    return [certFile, keyFile, caFile]
      .map((path) => (path === undefined ? "" : markOf(path)))
      .join();
  }
}

/** A system without watches left is no reason not to serve: the looking finds the change a little later. */
function tryWatch(folder: string, onEvent: () => void): FSWatcher | undefined {
  try {
    const watcher = watch(folder, { persistent: false }, onEvent);
    watcher.on("error", () => watcher.close());
    return watcher;
  } catch {
    return undefined;
  }
}

function markOf(path: string): string {
  const { mtimeMs, ino, size } = statSync(path, { throwIfNoEntry: false }) ?? {};
  return `${mtimeMs}/${ino}/${size}`;
}

function isSame(one: TlsMaterial | undefined, other: TlsMaterial): boolean {
  if (one === undefined) return false;
  return (["cert", "key", "ca"] as const).every((part) => equal(one[part], other[part]));
}

function equal(one: Buffer | undefined, other: Buffer | undefined): boolean {
  if (one === undefined || other === undefined) return one === other;
  return one.equals(other);
}
